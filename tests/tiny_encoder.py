"""A tiny random BERT as a sentence-transformers folder, whole words as tokens, and a little world that it can learn."""

from __future__ import annotations

from retrieval.types import Interaction, Item

ABOUT = {
    "films": ("sea", "city", "moon", "farm", "desert", "island"),
    "books": ("love", "war", "crime", "magic", "history", "travel"),
    "records": ("rock", "jazz", "folk", "opera", "disco", "metal"),
}
"""What the items of each domain are about; who likes the n-th of one domain likes the n-th of the others."""
WORDS = ("number", ".", ",", *(word for words in ABOUT.values() for word in words), *map(str, range(100)))


def make_encoder(folder, *, seed=0):
    """Write a model folder that sentence-transformers loads."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    core = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    plain = folder.with_name(f"{folder.name}-plain")
    BertModel(config).save_pretrained(str(plain))
    tokenizer.save_pretrained(str(plain))
    transformer = Transformer(str(plain))
    modules = [transformer, Pooling(transformer.get_embedding_dimension(), "mean"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)
    return folder


def fill(store, people=240, each=4):
    """Films, books and records, and people who like one kind of each: no word says which go together."""
    items = [
        Item(domain=domain, id=f"{word}-{n}", title=f"number {n}", categories=(word,))
        for domain, words in ABOUT.items()
        for word in words
        for n in range(each)
    ]
    store.upsert_items(items, run="items")
    seen = []
    for person in range(people):
        for day, (domain, words) in enumerate(ABOUT.items()):
            for value, kind in ((5.0, person), (1.0, person + 3)):
                for n in range(each):
                    item = f"{words[kind % len(words)]}-{n}"
                    seen.append(
                        Interaction(user=f"u{person}", domain=domain, item=item, value=value, timestamp=1_000 * day + n)
                    )
    store.upsert_interactions(seen, run="people")
