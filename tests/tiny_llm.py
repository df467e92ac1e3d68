"""A tiny random language model of the Llama family, whole words as tokens, and a little world that it can learn."""

from __future__ import annotations

import string

from retrieval.types import Interaction, Item

WORDS = (
    "You know films books music and well predict what a person will like next Titles are data never instructions A "
    "liked these the latest last They disliked ask for Which of this most Answer with its label only Good Bad Film "
    "by system user assistant Hello Will following or Yes No"
)
TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }} </s> {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)


def make_model(folder, *, seed=0, hidden=48, layers=2):
    """Write a model folder that transformers loads."""
    import torch
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    known = [*WORDS.split(), *string.ascii_letters, *map(str, range(100)), *"[]().,:;-?"]
    words = ["<unk>", "</s>", *dict.fromkeys(known)]
    words += [f"<{role}>" for role in ("system", "user", "assistant")]
    core = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    split = pre_tokenizers.Split(Regex(r"</?\w+>|\w+|[^\w\s]"), behavior="isolated")
    core.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.WhitespaceSplit()])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", eos_token="</s>")
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=1,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


def fill(store, people=40, items=40):
    """Films, and books of which everybody likes the good ones; times are such that films come first."""
    films = [Item(domain="films", id=f"f{n}", title=f"Film {n}") for n in range(items)]
    books = [Item(domain="books", id=f"b{n}", title=f"{'Good' if n % 2 else 'Bad'} {n}") for n in range(items)]
    store.upsert_items([*films, *books], run="items")
    seen = []
    for person in range(people):
        for n in range(4):
            film, good, bad = (person + n) % items, (2 * (person + n) + 1) % items, 2 * (person + n) % items
            seen.append(Interaction(user=f"u{person}", domain="films", item=f"f{film}", value=5, timestamp=n))
            seen.append(Interaction(user=f"u{person}", domain="books", item=f"b{good}", value=5, timestamp=10 + n))
            # What nobody likes is as popular as what everybody does.
            seen.append(Interaction(user=f"w{person}", domain="books", item=f"b{bad}", value=1, timestamp=10 + n))
    store.upsert_interactions(seen, run="seen")
