"""A tiny random sentence-transformers model of the BERT family, whole words as tokens."""

from __future__ import annotations

WORDS = "a an the of and in to film book about space love war sea ship robot detective garden winter song"
DIMS = 64


def make_encoder(folder, *, seed=0, prompt=None):
    """Write a model folder that sentence-transformers loads; `prompt`: its default one."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS.split(), *"abcdefghijklmnopqrstuvwxyz.,:"]
    core = Tokenizer(models.WordLevel({w: n for n, w in enumerate(dict.fromkeys(words))}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", [("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=DIMS,
        intermediate_size=2 * DIMS,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    parts = folder.parent / f"{folder.name}-parts"
    BertModel(config).save_pretrained(parts)
    PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=64, **special).save_pretrained(parts)
    whole = SentenceTransformer(
        modules=[Transformer(str(parts), max_seq_length=32), Pooling(DIMS, "mean")],
        device="cpu",
        prompts={"item": prompt} if prompt else None,
        default_prompt_name="item" if prompt else None,
    )
    whole.save_pretrained(str(folder))
    return folder
