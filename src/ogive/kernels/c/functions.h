/* Elementary functions of double that a compiler can vectorise.

   Every og_<name> is straight-line code over arithmetic, comparisons with a choice, and moves between a double and
   its bits, so gcc and clang turn a loop around it into vector code for whatever machine the flags name. Nothing
   here needs -ffast-math. Accuracy is full double, or a relative 2e-11 with shorter polynomials when OG_MEDIUM is
   defined (enough for a composite that is rounded to float32).

   Results below the smallest normal number may be flushed to zero. Infinities, NaN and signed zeros follow torch,
   except that softsign, isru, hypotm1 and sqp1 have their limits at infinity where torch's forms give NaN.

   Worst error found against ball arithmetic (units in the last place of the result; for OG_MEDIUM relative; * in eps
   times |f| + |x f'|, the function has zeros) and nanoseconds per element, full and medium: 4096 doubles, one
   thread, gcc 12, AVX-512. AVX2 gives the same errors. The *_near functions give NaN beyond OG_TRIG_LIMIT, and the
   same as the full ones inside; a caller that finds a NaN it did not expect computes that block again in full.
   floor, round, sign, abs, max, min and mulsat are exact, 0.14 to 0.21 ns. Error constants at the polynomials are of
   the approximation alone: Remez's exchange in 60 digits, coefficients then rounded to double.

                ulp  medium    ns                     ulp  medium    ns
   exp         1.00   2e-12  0.63 0.47   Phi         4.16   1e-11  1.80 1.30
   expm1       1.88   6e-12  0.69 0.56   phi         1.95   2e-12  0.86 0.62
   log         0.73   8e-12  0.97 0.89   softsign    1.47   2e-16  0.31 0.31
   log1p       1.10   8e-12  1.06 1.10   hypot1      0.82   2e-16  0.54 0.54
   sin         1.41   1e-11  2.71 2.79   hypotm1     2.73   3e-16  0.85 0.85
   cos         1.43   1e-11  2.68 2.82   isru        1.82   2e-16  0.85 0.85
   tan         2.69   1e-11  2.77 2.99   sqp         2.52   3e-16  0.85 0.85
   atan        1.26   2e-11  1.14 0.77   sqp1        3.93   4e-16  0.87 0.86
   sinh        2.29   6e-12  0.85 0.78   sqrt        0.50   1e-16  0.54 0.54
   cosh        1.46   2e-12  0.78 0.67   sinc0       2.33   1e-11  2.73 2.58
   tanh        2.42   6e-12  0.84 0.72   sinc1       0.9*  7e-12*  3.13 2.93
   asinh       1.41   8e-12  1.87 1.86   sinc2       0.9*  6e-12*  3.17 2.98
   sech2       1.82   2e-12  1.00 0.91   sinc3       0.9*  4e-12*  3.28 3.05
   logcosh     1.38   6e-12  2.16 1.68   sinc4       1.8*  4e-12*  3.72 3.25
   tanhshrink  6.43   3e-12  1.55 1.22   pow         1.11   3e-12  3.88 2.49
   sigmoid     1.93   2e-12  0.85 0.66   sin_near                  0.90 0.66
   softplus    1.34   4e-12  1.42 0.99   cos_near                  0.89 0.65
   erf         1.59   1e-11  2.02 1.38   tan_near                  1.06 0.80
   erfc        4.14   1e-11  1.63 1.16 */

#ifndef OGIVE_FUNCTIONS_H
#define OGIVE_FUNCTIONS_H

#include <stdint.h>

#define OG_FN static inline __attribute__((always_inline, unused)) double
#define OG_INF __builtin_inf()
#define OG_NAN __builtin_nan("")
#define OG_SIGN 0x8000000000000000u
#define OG_ONE 0x3ff0000000000000u
#define OG_LN2 0.6931471805599453
#define OG_LOG2E 1.4426950408889634

/* 1.5 * 2^52: adding it leaves the nearest integer in the low bits of the sum, in two's complement modulo 2^51. */
#define OG_MAGIC 6755399441055744.0

static inline __attribute__((always_inline, unused)) uint64_t og_bits(double x) {
    union { double d; uint64_t u; } v = {.d = x};
    return v.u;
}
OG_FN og_real(uint64_t u) {
    union { uint64_t u; double d; } v = {.u = u};
    return v.d;
}
OG_FN og_with_sign(double y, double x) { return og_real(og_bits(y) | (og_bits(x) & OG_SIGN)); } /* y >= 0 or y has it */

/* a * b - p exactly, for p = a * b rounded; and c - a * b rounded once. Without a fused instruction by splitting
   the factors in halves (Dekker), where the second rounds twice. */
#if defined(__FMA__) || defined(__aarch64__)
OG_FN og_residue(double a, double b, double p) { return __builtin_fma(a, b, -p); }
OG_FN og_less(double c, double a, double b) { return __builtin_fma(-a, b, c); }
#else
OG_FN og_residue(double a, double b, double p) {
    double s = 134217729.0 * a, t = 134217729.0 * b;
    double ah = s - (s - a), al = a - ah, bh = t - (t - b), bl = b - bh;
    return al * bl - (((p - ah * bh) - al * bh) - ah * bl);
}
OG_FN og_less(double c, double a, double b) {
    double p = a * b;
    return (c - p) - og_residue(a, b, p);
}
#endif

/* Horner's rule, coefficients from the constant term up; contraction makes each step one fma. */
#define OG_P1(z, a) (a)
#define OG_P2(z, a, ...) ((a) + (z) * OG_P1(z, __VA_ARGS__))
#define OG_P3(z, a, ...) ((a) + (z) * OG_P2(z, __VA_ARGS__))
#define OG_P4(z, a, ...) ((a) + (z) * OG_P3(z, __VA_ARGS__))
#define OG_P5(z, a, ...) ((a) + (z) * OG_P4(z, __VA_ARGS__))
#define OG_P6(z, a, ...) ((a) + (z) * OG_P5(z, __VA_ARGS__))
#define OG_P7(z, a, ...) ((a) + (z) * OG_P6(z, __VA_ARGS__))
#define OG_P8(z, a, ...) ((a) + (z) * OG_P7(z, __VA_ARGS__))
#define OG_P9(z, a, ...) ((a) + (z) * OG_P8(z, __VA_ARGS__))
#define OG_P10(z, a, ...) ((a) + (z) * OG_P9(z, __VA_ARGS__))
#define OG_P11(z, a, ...) ((a) + (z) * OG_P10(z, __VA_ARGS__))
#define OG_P12(z, a, ...) ((a) + (z) * OG_P11(z, __VA_ARGS__))
#define OG_P13(z, a, ...) ((a) + (z) * OG_P12(z, __VA_ARGS__))
#define OG_P14(z, a, ...) ((a) + (z) * OG_P13(z, __VA_ARGS__))
#define OG_P15(z, a, ...) ((a) + (z) * OG_P14(z, __VA_ARGS__))
#define OG_P16(z, a, ...) ((a) + (z) * OG_P15(z, __VA_ARGS__))
#define OG_P17(z, a, ...) ((a) + (z) * OG_P16(z, __VA_ARGS__))
#define OG_P18(z, a, ...) ((a) + (z) * OG_P17(z, __VA_ARGS__))
#define OG_P19(z, a, ...) ((a) + (z) * OG_P18(z, __VA_ARGS__))
#define OG_P20(z, a, ...) ((a) + (z) * OG_P19(z, __VA_ARGS__))

/* The same by even and odd powers, w = z^2: half the depth and fewer roundings in a row. */
#define OG_S1(w, a, ...) (a)
#define OG_S2(w, a, b, ...) ((a) + (w) * OG_S1(w, __VA_ARGS__))
#define OG_S3(w, a, b, ...) ((a) + (w) * OG_S2(w, __VA_ARGS__))
#define OG_S4(w, a, b, ...) ((a) + (w) * OG_S3(w, __VA_ARGS__))
#define OG_S5(w, a, b, ...) ((a) + (w) * OG_S4(w, __VA_ARGS__))
#define OG_S6(w, a, b, ...) ((a) + (w) * OG_S5(w, __VA_ARGS__))
#define OG_S7(w, a, b, ...) ((a) + (w) * OG_S6(w, __VA_ARGS__))
#define OG_S8(w, a, b, ...) ((a) + (w) * OG_S7(w, __VA_ARGS__))
#define OG_S9(w, a, b, ...) ((a) + (w) * OG_S8(w, __VA_ARGS__))
#define OG_S10(w, a, b, ...) ((a) + (w) * OG_S9(w, __VA_ARGS__))
#define OG_SPLIT(even, odd, z, a, ...) (even((z) * (z), a, __VA_ARGS__, 0) + (z) * odd((z) * (z), __VA_ARGS__, 0))

/* Exact piecewise operations. */
OG_FN og_abs(double x) { return __builtin_fabs(x); }
OG_FN og_sign(double x) { return (x > 0.0 ? 1.0 : 0.0) - (x < 0.0 ? 1.0 : 0.0); }
OG_FN og_sqrt(double x) { return __builtin_sqrt(x); }
OG_FN og_floor(double x) { return __builtin_floor(x); }
OG_FN og_round(double x) { return __builtin_rint(x); } /* ties to even */
OG_FN og_max(double a, double b) {
    double m = a > b ? a : b; /* b when either is NaN */
    return a != a ? a : m;
}
OG_FN og_min(double a, double b) {
    double m = a < b ? a : b;
    return a != a ? a : m;
}
OG_FN og_at_most(double x, double c) { return x > c ? c : x; } /* NaN stays */
OG_FN og_at_least(double x, double c) { return x < c ? c : x; }
OG_FN og_mulsat(double a, double b) { /* an exact zero wins over an infinity */
    double p = a * b;
    p = a == 0.0 ? 0.0 : p;
    return b == 0.0 ? 0.0 : p;
}

/* exp(r) - 1 - r = r^2 q(r), |r| <= ln2/2: minimax of the error relative to expm1(r), 1.8e-17 (medium 5.3e-12). */
OG_FN og_exp_q(double r) {
#ifdef OG_MEDIUM
    return OG_P7(r, 0.5000000000106851, 0.16666666754909396, 0.041666665943784764, 0.008333288792376381,
                 0.001388898627798848, 0.00019905097335707638, 2.479618077920393e-05);
#else
    return OG_P10(r, 0.5000000000000006, 0.16666666666666588, 0.04166666666657541, 0.008333333333390454,
                  0.0013888888932045431, 0.0001984126971748913, 2.4801504657313536e-05, 2.755740832597543e-06,
                  2.76262961665511e-07, 2.5053747028427282e-08);
#endif
}

/* x + lo = n ln2 + r with n = t - magic. The high part of ln2 has 42 bits, so n times it is exact. */
OG_FN og_exp_r(double x, double lo, double n) {
#ifdef OG_MEDIUM
    return (x - n * OG_LN2) + lo;
#else
    double r = x - n * 0.6931471805598903;
    return (r - n * 5.497923018708371e-14) + lo;
#endif
}

/* Results below the smallest normal number are made 2^64 larger and brought down by one rounded product, so that a
   factor that follows finds them (709 sigmoid(-709) is normal). At medium precision nobody can see them. */
#ifdef OG_MEDIUM
#define OG_LIFT 0.0
#define OG_LOWER 1.0
#else
#define OG_LIFT 64.0
#define OG_LOWER 0x1p-64
#endif

/* 2^j exp(x + lo) for x <= 0 (or NaN). */
OG_FN og_exp_down(double x, double lo, int j) {
    const double magic = OG_MAGIC + 1023.0 + OG_LIFT + j;
    double t = x * OG_LOG2E + magic;
    double r = og_exp_r(x, lo, t - magic);
    double p = 1.0 + (r + r * r * og_exp_q(r));
    double y = p * og_real(og_bits(t) << 52) * OG_LOWER;
    return x < (-1022.0 - OG_LIFT - j) * OG_LN2 ? 0.0 : y;
}

/* 2^j exp(x + lo) for any x, j <= 0. The exponent is added to the bits of p, so that no scale factor overflows. */
OG_FN og_exp_up(double x, double lo, int j, double top) {
    const double magic = OG_MAGIC + j + (x < -512.0 ? OG_LIFT : 0.0);
    double t = x * OG_LOG2E + magic;
    double r = og_exp_r(x, lo, t - magic);
    double p = 1.0 + (r + r * r * og_exp_q(r));
    double y = og_real(og_bits(p) + (og_bits(t) << 52)) * (x < -512.0 ? OG_LOWER : 1.0);
    y = x < top ? y : x + OG_INF; /* inf, or NaN for NaN */
    return x < (-1022.0 - OG_LIFT - j) * OG_LN2 ? 0.0 : y;
}
OG_FN og_exp(double x) { return og_exp_up(x, 0.0, 0, 709.7827128933841); }

/* 2^-j expm1(x) = s p + (s - 2^-j), p = expm1(r), s = 2^(n-j), for -60 <= x, j = 1 or 2. */
OG_FN og_expm1_part(double x, int j) {
    const double magic = OG_MAGIC + 1023.0 - j;
    double t = x * OG_LOG2E + magic;
    double r = og_exp_r(x, 0.0, t - magic);
    double p = r + r * r * og_exp_q(r);
    double s = og_real(og_bits(t) << 52);
    return s * p + (s - (j == 1 ? 0.5 : 0.25));
}
OG_FN og_expm1(double x) {
    double y = 2.0 * og_expm1_part(og_at_least(x, -60.0), 1);
    y = x < 709.7827128933841 ? y : x + OG_INF;
    return og_with_sign(y, x);
}

/* log(2^e m) + part with f = m - 1 in [sqrt(1/2) - 1, sqrt(2) - 1]: fdlibm's arrangement, s = f/(2+f),
   log(1+f) = f - (f^2/2 - s (f^2/2 + s^2 L(s^2))), L minimax of the relative error, 2.5e-18 (medium 8.3e-12). */
OG_FN og_log_core(double f, double e) {
    double s = f / (2.0 + f), z = s * s, h = 0.5 * f * f;
#ifdef OG_MEDIUM
    double L = OG_P4(z, 0.6666666571918286, 0.4000034963290484, 0.28535304948254314, 0.23632283052311875);
    return e * OG_LN2 + (f - (h - s * (h + z * L)));
#else
    double L = OG_P7(z, 0.6666666666666713, 0.3999999999948906, 0.285714287376948, 0.22222198105810123,
                     0.1818362761561689, 0.15311632577734696, 0.1482661098173084);
    return e * 0.6931471805598903 + (f - (h - (s * (h + z * L) + e * 5.497923018708371e-14)));
#endif
}
#define OG_ROOT_HALF 0x3fe6a09e667f3bcdu /* sqrt(1/2): m is taken in [sqrt(1/2), sqrt(2)) */
static inline __attribute__((always_inline, unused)) uint64_t og_log_split(double u) {
    return og_bits(u) + (OG_ONE - OG_ROOT_HALF); /* exponent field: e + 1023; the rest: m's distance from the root */
}
OG_FN og_log_e(uint64_t i) { return og_real((i >> 52) | 0x4330000000000000u) - (4503599627370496.0 + 1023.0); }
OG_FN og_log_f(uint64_t i) { return og_real((i & 0xfffffffffffffu) + OG_ROOT_HALF) - 1.0; }

OG_FN og_log(double x) {
    double small = x < 2.2250738585072014e-308 ? 1.0 : 0.0;
    double u = x < 2.2250738585072014e-308 ? x * 18014398509481984.0 : x;
    uint64_t i = og_log_split(u);
    double y = og_log_core(og_log_f(i), og_log_e(i) - 54.0 * small);
    y = x < OG_INF ? y : x;
    y = x == 0.0 ? -OG_INF : y;
    return x < 0.0 ? OG_NAN : y;
}

/* log(u + c), u = 1 + x rounded and c its error, small beside u. */
OG_FN og_log1p(double x) {
    double u = 1.0 + x, b = u - 1.0;
    double c = (1.0 - (u - b)) + (x - b);
    uint64_t i = og_log_split(u);
    double g = c * og_real((2046u - (i >> 52)) << 52); /* c 2^-e */
    double f = og_log_f(i) + (x < 1152921504606846976.0 ? g : 0.0);
    double y = og_log_core(f, og_log_e(i));
    y = x < OG_INF ? y : x;
    y = u == 0.0 ? -OG_INF : y;
    y = x < -1.0 ? OG_NAN : y;
    return og_with_sign(y, x);
}

/* log(1 + t) for t in [0, 1], no exponent to split off: s = t/(2+t), 2 atanh s = t - s (t - 2 s^2 A(s^2)),
   s^2 <= 1/9. Minimax of the relative error 1.3e-18 (medium 2.7e-12). */
OG_FN og_log1p_unit(double t) {
    double s = t / (2.0 + t), z = s * s;
#ifdef OG_MEDIUM
    double A = OG_P6(z, 0.33333333181772157, 0.2000002621661546, 0.14284209855504748, 0.11150535665647096,
                     0.08575691014890384, 0.10890791983355375);
#else
    double A = OG_P10(z, 0.33333333333333154, 0.20000000000077522, 0.14285714274063976, 0.11111111976492719,
                      0.09090872251618506, 0.07693273934204284, 0.06650564152605307, 0.06052445111924914,
                      0.0417260431180432, 0.08504661041449098);
#endif
    return t - s * (t - 2.0 * z * A);
}

/* Circular functions. With n the integer nearest to 2a/pi, r = a - n pi/2 in three fma: the first is exact (both
   terms are multiples of 2^-52 and r is below 2), the others round once each, relative to r. Good to 2^47. */
#define OG_TRIG_LIMIT 140737488355328.0
#define OG_TRIG_BITS 0x42e0000000000000u

/* Beyond, by Payne and Hanek's method in doubles: a = X 2^(16j-5) with X < 2^68, and 2/pi 2^(16j-5) modulo 4 is the
   row j of the table, three doubles. Their products with X are exact pairs, multiples of 4 drop out, and what is left
   is known to 2^-89 of a quarter turn. */
static const double og_turns[186] __attribute__((unused)) = {
    0.019894367886486918, -1.2299172921989054e-18, -6.700897676808128e-35, 3.7972938088065904, 2.2037653116392958e-16,
    -3.4615161810959423e-33, 3.447053948722787, -7.293638444750734e-17, 5.2155649576129406e-33, 2.127583496558822,
    2.1736367423316843e-16, 8.625971830158263e-33, 1.3120304789769421, 9.617018446824366e-17, -5.756342755663377e-33,
    1.2294702328862783, 9.51431187277246e-17, 3.971835056863728e-34, 2.561182435142524, -1.5716656456986568e-16,
    -2.5916436312603696e-33, 1.6520695004334585, -8.488699328997565e-17, 5.65663711952394e-33, 2.0267804071280655,
    -4.846046010933767e-17, -1.9513821782838386e-33, 3.080761544898003, 2.2131512209427997e-16, 8.291822946885398e-33,
    0.7886064355406665, 4.3225565224922005e-17, -1.3214853989502453e-33, 2.1113595931193365, -1.442705306100049e-17,
    3.506336019442068e-34, 2.0622946688372035, -2.5421634944765463e-17, 4.683845425477177e-34, 2.5434169149649897,
    1.9044761728555578e-16, 4.429786652233609e-33, 1.3709391455756514, 4.7803590174303417e-17,
    -2.6410321946251188e-33, 1.8678444458959753, 2.875477588182257e-17, -1.6729208041690073e-33, 3.0536062386400515,
    2.0247479730808026e-16, -9.523899587582359e-33, 1.1384555144309978, 2.726062476479416e-18, 1.7449312900777067e-34,
    1.8205937498716562, -9.067650609518621e-17, -2.9014230514127222e-33, 2.431991588856787, -2.1778645043573344e-16,
    -7.531035832161342e-33, 3.0007673183720787, 1.7438882478509274e-16, 1.791435657975294e-33, 2.2869768325586537,
    1.102056244766915e-16, -1.1621287770260544e-33, 3.3136985639357053, 2.1298591288565936e-16,
    -1.1542274063698456e-32, 2.5490860903949826, 7.683207725308675e-17, -3.146593100237297e-33, 0.9060201255829601,
    -3.8491026641937946e-17, -1.954411721361808e-33, 0.9349502048691888, -1.018775522717476e-17,
    -7.408056832055551e-34, 0.8966263071554439, 2.3400441444068096e-17, -5.992164458206676e-34, 1.3016657391723914,
    -9.075573874454732e-17, 2.329447302227623e-34, 1.9658824018346972, -8.130684076434313e-17,
    -5.5882471340757634e-33, 0.06908663871048813, 4.168144254810004e-18, -3.778140012450288e-34, 3.66195453055052,
    4.863782543986492e-17, 2.4184673591156255e-33, 1.8521141588894394, 7.822432816301576e-17, -2.7353442013397448e-33,
    0.1535169783070493, -7.568664906927069e-19, 1.9418120797380164e-35, 0.8886903307829429, 2.4966866707257852e-17,
    -6.854267397906394e-35, 1.2095181909478916, -1.8117165705135804e-17, 7.966923746098315e-34, 2.984161961022159,
    1.6797548728741598e-16, -6.9970188579978365e-34, 2.0382775482249635, -8.588810510841389e-17,
    -3.1226718033090583e-33, 0.5574004712050838, -4.314383793183132e-17, 3.5584496972409347e-34, 1.7972808963721865,
    4.1436414851433474e-17, -4.457475797224412e-35, 2.600824647614887, -2.863452958874035e-17, -7.988224314237948e-37,
    3.6441060892229293, 1.2846969867684942e-16, -3.0478202894765823e-33, 0.1366633139052803, 1.3865241128852336e-17,
    9.590115170212591e-35, 0.3669400964508887, 1.0408116007335561e-17, 2.8328342609564774e-34, 3.786161005443091,
    -1.4735672952813142e-17, -7.02051288584271e-34, 1.8476527184238314, -4.50758166009551e-17, -3.018737136494106e-33,
    3.7685546242107666, -7.292837577138643e-18, 1.8914204565466846e-34, 3.995852276798791, -1.0341365669072396e-16,
    -4.294249918427162e-33, 0.17481228557203235, 1.1293365366647379e-17, -2.9397249104947082e-34, 0.4979472487128203,
    -8.18669775799418e-18, -3.1875372372189295e-34, 1.4708916433914148, -6.365876903094408e-17,
    2.6439988747592105e-33, 0.354741299753562, -5.164267690659251e-19, 3.7601733374030356e-35, 0.3258206494392314,
    1.7257513562807017e-17, -9.231304152085409e-34, 0.982081649469586, 4.213666473649464e-18, -1.9310603732839363e-34,
    1.7029796387872045, -7.664250964769943e-17, 3.355076114818684e-33, 2.473607558228175, -1.9454886742152412e-16,
    7.942833688394267e-33, 2.344936041672537, -1.5336054170681002e-16, -8.041230108488231e-33, 1.7284270513818676,
    -9.463970884579775e-18, -1.5682313862787895e-34, 2.195239362073442, 1.6183026871732364e-16,
    2.2824580446347338e-33, 3.206832845094742, -3.0018980673140666e-17, 1.584236469591531e-33, 2.9973361290156726,
    -8.71775916917701e-18, -5.091483206351022e-35, 1.4205511711182879, -6.296439078950617e-18,
    -2.7339845775854584e-34, 1.2415504081141502, -8.45555273994811e-17, 4.49236282580082e-33
};
static inline __attribute__((always_inline, unused)) uint64_t og_far_turns(double a, uint64_t beyond, double *r) {
    uint64_t j = ((og_bits(a) - OG_TRIG_BITS) >> 56) & beyond; /* sixteen exponents a row */
    double X = a * og_real((1028u - 16u * j) << 52);
    double v1 = og_turns[3 * j], v2 = og_turns[3 * j + 1], v3 = og_turns[3 * j + 2];
    double p1 = X * v1, e1 = og_residue(X, v1, p1), p2 = X * v2, e2 = og_residue(X, v2, p2);
    double p = p1 - 4.0 * __builtin_rint(0.25 * p1);
    double h = e1 + p2, d = h - e1, l = (e1 - (h - d)) + (p2 - d);
    double s = p + h, g = s - p, m = (p - (s - g)) + (h - g);
    double t = s + OG_MAGIC, f = s - (t - OG_MAGIC);
    double low = (l + m) + (e2 + X * v3);
    double tail = f * 6.123233995736766e-17 + low * 1.5707963267948966;
    *r = f * 1.5707963267948966 + tail;
    return og_bits(t);
}
/* a = q pi/2 + r modulo 2 pi, |r| <= 1.04 pi/4, a >= 0. Without `far` a NaN stands for what lies beyond the limit. */
static inline __attribute__((always_inline, unused)) uint64_t og_turns_of(double a, int far, double *r) {
    double t = a * 0.6366197723675814 + OG_MAGIC, n = t - OG_MAGIC;
    double near = og_less(a, n, 1.5707963267948966);
    near = og_less(near, n, 6.123233995736766e-17);
    near = og_less(near, n, -1.4973849048591833e-33);
    if (!far) {
        *r = a > OG_TRIG_LIMIT ? OG_NAN : near;
        return og_bits(t);
    }
    /* All ones beyond the limit. Made without a comparison: gcc would turn one into a branch around the table. */
    uint64_t beyond = 0u - ((OG_TRIG_BITS - og_bits(a)) >> 63);
    double away;
    uint64_t q = og_far_turns(a, beyond, &away);
    *r = og_real((og_bits(away) & beyond) | (og_bits(near) & ~beyond));
    return (q & beyond) | (og_bits(t) & ~beyond);
}
/* sin r = r + r^3 S(r^2), |r| <= 1.04 pi/4: 1.1e-17 (medium 1.2e-11). */
OG_FN og_sin_poly(double r, double z) {
#ifdef OG_MEDIUM
    double S = OG_P4(z, -0.16666666635971777, 0.008333328270640173, -0.00019838922077228957, 2.714239515216447e-06);
#else
    double S = OG_P6(z, -0.16666666666666627, 0.00833333333331904, -0.00019841269826065505, 2.7557312181819208e-06,
                     -2.505050270192834e-08, 1.5881406720675154e-10);
#endif
    return r + (r * z) * S;
}
/* cos r = 1 - r^2/2 + r^4 C(r^2): 2.8e-19 (medium 4.6e-13). */
OG_FN og_cos_poly(double z) {
#ifdef OG_MEDIUM
    double C = OG_P4(z, 0.04166666664104846, -0.0013888884663760001, 2.479962822791889e-05, -2.7211200803694975e-07);
    return 1.0 - z * (0.5 - z * C);
#else
    double C = OG_P6(z, 0.041666666666666644, -0.0013888888888879947, 2.4801587292075884e-05, -2.7557314818818945e-07,
                     2.0875752658102787e-09, -1.1359657606674935e-11);
    double h = 0.5 * z, w = 1.0 - h;
    return w + (((1.0 - w) - h) + z * z * C);
#endif
}
OG_FN og_sin_turn(double r, uint64_t q) { /* sin(r + q pi/2) */
    double z = r * r, s = og_sin_poly(r, z), c = og_cos_poly(z);
    double y = (q & 1u) ? c : s;
    return og_real(og_bits(y) ^ ((q & 2u) << 62));
}
OG_FN og_sin_to(double x, int far) {
    double r;
    uint64_t q = og_turns_of(og_abs(x), far, &r);
    return og_real(og_bits(og_sin_turn(r, q)) ^ (og_bits(x) & OG_SIGN));
}
OG_FN og_cos_to(double x, int far) {
    double r;
    uint64_t q = og_turns_of(og_abs(x), far, &r);
    return og_sin_turn(r, q + 1u);
}
OG_FN og_tan_to(double x, int far) {
    double r;
    uint64_t q = og_turns_of(og_abs(x), far, &r);
    double z = r * r, s = og_sin_poly(r, z), c = og_cos_poly(z);
    double up = (q & 1u) ? c : s, down = (q & 1u) ? s : c;
    return og_real(og_bits(up / down) ^ (q << 63) ^ (og_bits(x) & OG_SIGN));
}
#define OG_BOTH(name)                                                 \
    OG_FN og_##name(double x) { return og_##name##_to(x, 1); }        \
    OG_FN og_##name##_near(double x) { return og_##name##_to(x, 0); }
OG_BOTH(sin)
OG_BOTH(cos)
OG_BOTH(tan)

/* atan y = y + y^3 A(y^2) on [0, 1], pi/2 minus that of 1/a above: 8.8e-18 (medium 1.9e-11). */
OG_FN og_atan(double x) {
    double a = og_abs(x), inverse = 1.0 / a;
    double y = a > 1.0 ? inverse : a, z = y * y;
#ifdef OG_MEDIUM
    double A = OG_P12(z, -0.33333333222360084, 0.19999989208569202, -0.14285397658579554, 0.11106718019191368,
                      -0.09056016374390523, 0.07516237280096402, -0.06064411511003585, 0.044210077120064514,
                      -0.02649841709266035, 0.011697070007770862, -0.0032785890405119646, 0.00043016498755300077);
#else
    double A = OG_P20(z, -0.3333333333333324, 0.19999999999976292, -0.14285714283804404, 0.11111111038037112,
                      -0.09090907471937215, 0.0769228449548724, -0.06666436182172124, 0.05880687567330869,
                      -0.05254104584925623, 0.047239281212900844, -0.04222474230566516, 0.03669202432009072,
                      -0.029958535406213186, 0.022023958131292425, -0.013912900461696331, 0.0071891110916522645,
                      -0.002873362255050488, 0.0008246772904945106, -0.00015020024403115636, 1.2979577084858152e-05);
#endif
    double w = y + (y * z) * A;
    w = a > 1.0 ? 1.5707963267948966 - (w - 6.123233995736766e-17) : w;
    return og_with_sign(w, x);
}

/* Hyperbolic functions; E = expm1. */
OG_FN og_sinh(double x) { /* (E + E/(E+1))/2, E/4 kept so that nothing overflows early */
    double a = og_abs(x), q = og_expm1_part(a, 2);
    double y = 2.0 * q + 2.0 * q / (4.0 * q + 1.0);
    y = a < 710.4758600739439 ? y : a + OG_INF;
    return og_with_sign(y, x);
}
OG_FN og_cosh(double x) {
    double h = og_exp_up(og_abs(x), 0.0, -1, 710.4758600739439);
    return h + 0.25 / h;
}
OG_FN og_tanh_abs(double a) { /* -E/(2+E), E = expm1(-2a) */
    double h = og_expm1_part(og_at_least(-2.0 * a, -60.0), 1);
    return (0.0 - h) / (1.0 + h); /* +0 at 0 */
}
OG_FN og_tanh(double x) { return og_with_sign(og_tanh_abs(og_abs(x)), x); }
OG_FN og_sech2(double x) { /* 4t/(1+t)^2, t = exp(-2|x|); u = 1 + t carries its rounding error c */
    double t4 = og_exp_down(-2.0 * og_abs(x), 0.0, 2);
    double t = 0.25 * t4, u = 1.0 + t, c = t - (u - 1.0);
    return t4 / (u * u + 2.0 * u * c);
}
/* log cosh: below 1 x^2/2 + x^4 P(x^2), 1.5e-18 (medium 6e-12); above |x| - ln2 + log1p(exp(-2|x|)). */
OG_FN og_logcosh(double x) {
    double a = og_abs(x), z = a * a;
#ifdef OG_MEDIUM
    double P = OG_SPLIT(OG_S5, OG_S4, z, -0.08333333321437708, 0.022222215715242834, -0.006745925308963455,
                        0.002186142089715697, -0.0007352172600063613, 0.0002479902018974767, -7.72191937866483e-05,
                        1.856087487420361e-05, -2.3834215694731527e-06);
#else
    double P = OG_SPLIT(OG_S8, OG_S7, z, -0.08333333333333329, 0.02222222222221493, -0.006746031745702476,
                        0.0021869488466032204, -0.0007386028753331837, 0.00025657991069159586, -9.098615488803476e-05,
                        3.276627709719016e-05, -1.1921165101952377e-05, 4.334576591965118e-06,
                        -1.5310455795111387e-06, 4.942132075976541e-07, -1.3137656212982948e-07,
                        2.442422156186456e-08, -2.2911003035751757e-09);
#endif
    double small = 0.5 * z + z * z * P;
    double big = (a - OG_LN2) + og_log1p_unit(og_exp_down(-2.0 * a, 0.0, 0));
    return a < 1.0 ? small : big;
}
/* x - tanh x: below 1 x^3 P(x^2), 1.2e-18 (medium 3.2e-12). */
OG_FN og_tanhshrink(double x) {
    double a = og_abs(x), z = a * a;
#ifdef OG_MEDIUM
    double P = OG_SPLIT(OG_S6, OG_S5, z, 0.3333333333322568, -0.13333333307225315, 0.053968243432798074,
                        -0.021869321512663943, 0.008861865458639179, -0.00358549358479767, 0.0014354570584655638,
                        -0.0005487184847425399, 0.00018272052536990108, -4.449406686211697e-05,
                        5.584958794995561e-06);
#else
    double P = OG_SPLIT(OG_S9, OG_S8, z, 0.3333333333333333, -0.1333333333333331, 0.05396825396823156,
                        -0.02186948853529803, 0.008863235512589444, -0.0035921278236704956, 0.0014558326533984118,
                        -0.0005900175767987523, 0.00023908846508934669, -9.67910927048607e-05, 3.8991871173576284e-05,
                        -1.5416452019486524e-05, 5.777654441628333e-06, -1.9218143651936037e-06,
                        5.123303671256177e-07, -9.365620009647933e-08, 8.540000704058055e-09);
#endif
    double y = a < 1.0 ? (a * z) * P : a - og_tanh_abs(a);
    return og_with_sign(y, x);
}

/* Logistic: t = exp(-|x|) in (0, 1]. */
OG_FN og_sigmoid(double x) {
    double t = og_exp_down(-og_abs(x), 0.0, 0);
    return (x < 0.0 ? t : 1.0) / (1.0 + t);
}
OG_FN og_softplus(double x) {
    return og_at_least(x, 0.0) + og_log1p_unit(og_exp_down(-og_abs(x), 0.0, 0));
}

/* Normal distribution. exp(y^2) erfc(y) = P/Q on [0, 27.5], all coefficients positive, so Horner's rule loses nothing.
   Weighted least squares with Lawson's reweighting: relative error 9.2e-19 (medium 7.9e-12). */
OG_FN og_erfcx(double y) {
#ifdef OG_MEDIUM
    double P = OG_SPLIT(OG_S4, OG_S3, y, 1.0000000000078333, 1.6912173420667271, 1.3950964815429745,
                        0.6937621471615147, 0.21764635452949607, 0.0410681494909519, 0.0037312670926971632);
    double Q = OG_SPLIT(OG_S4, OG_S4, y, 1.0, 2.819596510400521, 3.5766704120794346, 2.6622591058835297,
                        1.2660613398012261, 0.389074682551181, 0.07279140433106789, 0.006613498678604338);
#else
    double P = OG_SPLIT(OG_S6, OG_S5, y, 1.0, 2.3414997667807538, 2.7179421247772177, 2.020911744057031,
                        1.0559995042391297, 0.40335791466864623, 0.11390506388756007, 0.02351101007917795,
                        0.0034077364537250868, 0.00031541308125548244, 1.4332480103959248e-05);
    double Q = OG_SPLIT(OG_S6, OG_S6, y, 1.0, 3.469878933876267, 5.633281226106769, 5.6597627661739045,
                        3.91930274173543, 1.969667808072575, 0.7354898541125227, 0.20489879499256797,
                        0.04195170792206227, 0.006052757429980451, 0.0005590551304982201, 2.5403659553283375e-05);
#endif
    return P / Q;
}
/* exp(-scale a^2), the rounding error of a^2 included: it is worth a^2 units in the last place. */
OG_FN og_gauss(double a, double scale) {
    double h = a * a;
#ifdef OG_MEDIUM
    return og_exp_down(-scale * h, 0.0, 0);
#else
    return og_exp_down(-scale * h, -scale * og_residue(a, a, h), 0);
#endif
}
OG_FN og_erfc_abs(double a) { return og_gauss(a, 1.0) * og_erfcx(a); }
OG_FN og_erfc(double x) {
    double t = og_erfc_abs(og_at_most(og_abs(x), 27.5));
    return x < 0.0 ? 2.0 - t : t;
}
/* erf x = x + x P(x^2) below 1/2: 2.2e-20 (medium 9.2e-14); 1 - erfc above. */
OG_FN og_erf(double x) {
    double a = og_abs(x), z = a * a;
#ifdef OG_MEDIUM
    double P = OG_P6(z, 0.12837916708207248, -0.37612638518941943, 0.11283773798831503, -0.026863119020484858,
                     0.0052003038158721, -0.0007692772242827547);
#else
    double P = OG_P10(z, 0.1283791670955126, -0.3761263890318375, 0.11283791670954864, -0.02686617064499756,
                      0.005223977621972511, -0.0008548326505584884, 0.00012055285852577712, -1.4922989519953913e-05,
                      1.6370938411995836e-06, -1.4618276539259302e-07);
#endif
    double y = a < 0.5 ? a + a * P : 1.0 - og_erfc_abs(og_at_most(a, 27.5));
    return og_with_sign(y, x);
}
OG_FN og_Phi(double x) {
    double a = og_at_most(og_abs(x), 38.8);
    double t = 0.5 * og_gauss(a, 0.5) * og_erfcx(a * 0.7071067811865476);
    return x > 0.0 ? 1.0 - t : t;
}
OG_FN og_phi(double x) { return 0.3989422804014327 * og_gauss(og_at_most(og_abs(x), 38.8), 0.5); }

/* Algebraic. Beyond 2^28 the one under the root no longer counts. */
OG_FN og_softsign(double x) {
    double a = og_at_most(og_abs(x), 1e300);
    return og_with_sign(a / (1.0 + a), x);
}
OG_FN og_hypot1(double x) {
    double a = og_abs(x), h = __builtin_sqrt(a * a + 1.0);
    return a > 268435456.0 ? a : h;
}
OG_FN og_hypotm1(double x) {
    double a = og_abs(x), h = __builtin_sqrt(a * a + 1.0);
    double y = a * (a / (h + 1.0));
    return a > 1e100 ? a : y;
}
OG_FN og_isru(double x) {
    double a = og_at_most(og_abs(x), 1e100);
    return og_with_sign(a / __builtin_sqrt(a * a + 1.0), x);
}
OG_FN og_sqp(double x) {
    double half = 0.5 * og_hypot1(x) + 0.5 * og_abs(x); /* the whole may not fit */
    return x < 0.0 ? 0.5 / half : half + half;
}
OG_FN og_sqp1(double x) {
    double a = og_at_most(og_abs(x), 1e160), h = og_hypot1(a), s = h + a;
    return (x < 0.0 ? 1.0 : s) / (x < 0.0 ? s * h : h);
}
/* asinh a = log1p(v), v = a + a^2/(1 + sqrt(1 + a^2)); beyond 2^28 log a + ln2. */
OG_FN og_asinh(double x) {
    double a = og_abs(x), v = a + a * a / (1.0 + __builtin_sqrt(a * a + 1.0));
    double one = a > 268435456.0 ? 0.0 : 1.0;
    v = a > 268435456.0 ? a : v;
    double u = one + v, b = u - one;
    double c = (one - (u - b)) + (v - b);
    uint64_t i = og_log_split(u);
    double g = c * og_real((2046u - (i >> 52)) << 52);
    double f = og_log_f(i) + (a > 268435456.0 ? 0.0 : g);
    double y = og_log_core(f, og_log_e(i) + (1.0 - one));
    y = a < OG_INF ? y : a;
    return og_with_sign(y, x);
}

OG_FN og_xlogy(double a, double b) {
    double y = a * og_log(b);
    double n = b != b ? b : 0.0;
    return a == 0.0 ? n : y;
}
/* a^b = exp(b log|a|) with the logarithm in two doubles: 2s + s^3 (2/3 + s^2 T(s^2)), s = f/(2+f), T minimax to
   1.2e-20 of the logarithm; the pair is good to 2^-65, which b log a below 745 turns into 2^-55 of the result. */
OG_FN og_pow(double a, double b) {
    double A = og_abs(a);
    double shift = A < 2.2250738585072014e-308 ? 54.0 : 0.0;
    uint64_t i = og_log_split(A < 2.2250738585072014e-308 ? A * 18014398509481984.0 : A);
    double f = og_log_f(i), e = og_log_e(i) - shift;
#ifdef OG_MEDIUM
    double s = f / (2.0 + f), z = s * s;
    double T = OG_P6(z, 0.3999999999977632, 0.2857142867369381, 0.22222204797117323, 0.18183272623473556,
                     0.15320879730092155, 0.14732755370267656);
    double hi = e * OG_LN2 + (2.0 * s + s * z * (0.6666666666666666 + z * T)), lo = 0.0;
#else
    double d = 2.0 + f, dl = f - (d - 2.0), v = 1.0 / d;
    double s = f * v, sl = (og_less(f, s, d) - s * dl) * v;
    double z = s * s, zl = og_residue(s, s, z) + 2.0 * s * sl;
    double T = OG_P7(z, 0.4000000000000231, 0.2857142857007203, 0.22222222525073368, 0.1818178389791573,
                     0.15386779724753635, 0.132562795998713, 0.13201466807015333);
    double zt = z * T, P = 0.6666666666666666 + zt, Pl = ((0.6666666666666666 - P) + zt) + 3.700743415417188e-17;
    double q = z * P, ql = og_residue(z, P, q) + (z * Pl + zl * P);
    double w = s * q, wl = og_residue(s, q, w) + (s * ql + sl * q);
    double m = 2.0 * s + w, ml = ((2.0 * s - m) + w) + (2.0 * sl + wl);
    double k = e * 0.6931471805598903, hi = k + m, lo = ((k - hi) + m) + (ml + e * 5.497923018708371e-14);
#endif
    hi = A < OG_INF ? hi : A;
    hi = A == 0.0 ? -OG_INF : hi;
    double y = b * hi;
#ifdef OG_MEDIUM
    double r = og_exp_up(y, lo, 0, 709.7827128933841);
#else
    double r = og_exp_up(y, og_residue(b, hi, y) + b * lo, 0, 709.782712893384);
#endif
    double half = 0.5 * b;
    int whole = __builtin_floor(b) == b, even = __builtin_floor(half) == half;
    r = A == 1.0 ? (b == b ? 1.0 : b) : r; /* also (-1)^inf */
    r = og_real(og_bits(r) ^ (whole & !even ? og_bits(a) & OG_SIGN : 0u));
    r = (a < 0.0) & !whole & (a > -OG_INF) & (A != 1.0 | (b > -OG_INF & b < OG_INF)) ? OG_NAN : r;
    return (b == 0.0) | (a == 1.0) ? 1.0 : r;
}

/* Derivatives of sin(x)/x. Near 0 an even polynomial in x (times x for odd orders), minimax relative to its value
   at 0: 2.3e-18, 1.5e-18, 2.8e-18, 9.6e-19 for orders 1 to 4; beyond, x s_n + n s_{n-1} = sin^(n)(x), forward stable
   where |x| > n. Where these functions pass through 0 the error is absolute. */
OG_FN og_sinc0_to(double x, int far) {
    double y = og_sin_to(x, far) / x;
    return x == 0.0 ? 1.0 : y;
}
OG_FN og_sinc1_to(double x, int far) {
    double z = x * x;
    double P = OG_P9(z, -0.3333333333333333, 0.033333333333333305, -0.0011904761904759876, 2.2045855378667636e-05,
                     -2.50521083183557e-07, 1.9270847750596544e-09, -1.0705822801381647e-11, 4.493207260247628e-14,
                     -1.410853251505131e-16);
    double v = 1.0 / x, s0 = og_sin_to(x, far) * v, s1 = (og_cos_to(x, far) - s0) * v;
    return z < 4.0 ? x * P : s1;
}
OG_FN og_sinc2_to(double x, int far) {
    double z = x * x;
    double P = OG_P11(z, -0.3333333333333333, 0.09999999999999999, -0.005952380952380894, 0.0001543209876542198,
                      -2.254689754599663e-06, 2.119793781779409e-08, -1.3917836474932132e-10, 6.747465813230055e-13,
                      -2.5150909641749326e-15, 7.40237445271888e-18, -1.6190589148946925e-20);
    double v = 1.0 / x, s = og_sin_to(x, far), s1 = (og_cos_to(x, far) - s * v) * v, s2 = -(s + 2.0 * s1) * v;
    return z < 9.0 ? P : s2;
}
OG_FN og_sinc3_to(double x, int far) {
    double z = x * x;
    double P = OG_P11(z, 0.2, -0.023809523809523798, 0.0009259259259258891, -1.803751803747112e-05,
                      2.1197937861533642e-07, -1.6701405473004207e-09, 9.446493580128707e-12, -4.024780214202757e-14,
                      1.3383672061093308e-16, -3.5482565095223263e-19, 6.919506557174873e-22);
    double v = 1.0 / x, s = og_sin_to(x, far), c = og_cos_to(x, far);
    double s1 = (c - s * v) * v, s2 = -(s + 2.0 * s1) * v, s3 = -(c + 3.0 * s2) * v;
    return z < 12.25 ? x * P : s3;
}
OG_FN og_sinc4_to(double x, int far) {
    double z = x * x;
    double P = OG_P13(z, 0.2, -0.07142857142857142, 0.004629629629629621, -0.00012626262626261656,
                      1.907814407808918e-06, -1.8371546147475614e-08, 1.2280445247029614e-10, -6.037233946245011e-13,
                      2.2759358418217985e-15, -6.790567577890013e-18, 1.6423165576963173e-20, -3.2408404124726763e-23,
                      4.595950782075617e-26);
    double v = 1.0 / x, s = og_sin_to(x, far), c = og_cos_to(x, far);
    double s1 = (c - s * v) * v, s2 = -(s + 2.0 * s1) * v, s3 = -(c + 3.0 * s2) * v, s4 = (s - 4.0 * s3) * v;
    return z < 20.25 ? P : s4;
}
OG_BOTH(sinc0)
OG_BOTH(sinc1)
OG_BOTH(sinc2)
OG_BOTH(sinc3)
OG_BOTH(sinc4)

#endif
