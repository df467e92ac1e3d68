"""Promises of adapters: complete manifests, refusal where they do not fit, merging, and how they are put to use."""

from __future__ import annotations

import json
import sys
import tomllib

import pytest
from tiny_llm import fill, make_model

from retrieval.adapt import CURVE, LOG, SplitSettings, TrainingPlan, load_lora
from retrieval.errors import DataError, ModelMissing, UsageError
from retrieval.store import Store
from retrieval.templates import load_template
from xdrec_agent import cli
from xdrec_agent.adapt import (
    LLMTrainingSettings,
    LoraSettings,
    Workspace,
    check_adapter,
    check_served_adapters,
    open_llm_for_training,
    train_judge,
    train_on_texts,
)
from xdrec_agent.adapt.adapter_training import training_folder
from xdrec_agent.adapt.training_lists import ListSettings
from xdrec_agent.app import set_values
from xdrec_agent.models import (
    BaseModelId,
    find_model,
    list_adapters,
    load_llm,
    merge_adapter,
    read_adapter_manifest,
)
from xdrec_agent.models.adapters import ADAPTER_MANIFEST
from xdrec_agent.rerank import LABELS
from xdrec_agent.server.command import vllm_command
from xdrec_agent.settings import LLMSettings

RUN = LLMTrainingSettings(
    plan=TrainingPlan(steps=2, accumulation=2, learning_rate=1e-1, validations=2),
    lora=LoraSettings(rank=4),
    lists=ListSettings(fewest=4, most=5, history=3),
    users=SplitSettings(validation_parts=4),
    validation_lists=5,
)
TEMPLATE = load_template("judge")


@pytest.fixture(scope="module")
def trained(base, store, tmp_path_factory):
    """A folder of adapters with one in it, and the manifest that training gave."""
    folder = tmp_path_factory.mktemp("adapters")
    return folder, train_judge(
        "taste", store, "pointwise-logprob", TEMPLATE, Workspace(base, "tiny", folder, "cpu"), RUN
    )


def test_the_manifest_is_complete(trained, base):
    """Base model with hash, labels, template, data, metrics before and after, and seed; and no user's name."""
    folder, made = trained
    found = read_adapter_manifest(folder / "taste")
    assert found == made
    assert found.base == BaseModelId.of("tiny", base)
    assert (found.kind, found.labels) == ("judge", "Yes/No")
    assert found.template_fingerprint == TEMPLATE.fingerprint
    assert found.data.pairs == ("books:films", "films:books")
    assert found.data.users > 0
    assert found.data.left_out == "users of fold 4 of 5"
    assert found.metrics.keys() == found.before.keys() >= {"ndcg10", "accuracy", "loss", "chance_ndcg10"}
    assert found.seed == 0
    names = {p.name for p in (folder / "taste").iterdir()}
    assert names == {ADAPTER_MANIFEST, LOG, CURVE, "adapter_model.safetensors", "adapter_config.json"}
    config = json.loads((folder / "taste" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["r"]) == ("tiny", 4)
    assert not training_folder("taste", folder).exists()
    assert list_adapters(folder) == [(folder / "taste", made)]


def test_an_adapter_that_chooses_from_lists_knows_its_labels(store, workspace):
    """The other judge is trained with its own template, and says which labels it learnt."""
    made = train_judge("chooser", store, "listwise-logprob", load_template("rerank"), workspace, RUN)
    assert (made.kind, made.labels, made.template) == ("list", "".join(LABELS), "rerank")


def test_an_adapter_for_another_base_is_refused(trained, tmp_path):
    """Merging and serving it are errors that name both models."""
    folder, _ = trained
    other = make_model(tmp_path / "other", seed=1)
    with pytest.raises(UsageError, match=r"trained on tiny .* not on other"):
        check_served_adapters({"taste": folder / "taste"}, "other", other)
    with pytest.raises(UsageError, match="not on other"):
        merge_adapter(folder / "taste", other, "other", tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_an_adapter_of_other_labels_is_refused(trained, base):
    """Labels that it never learnt would be ranked by chance."""
    manifest = read_adapter_manifest(trained[0] / "taste").model_copy(update={"labels": "123"})
    with pytest.raises(UsageError, match="learnt the labels"):
        check_adapter(manifest, BaseModelId.of("tiny", base))


def test_what_is_no_adapter_or_broken_says_so(trained, base, tmp_path):
    """A missing one, an unreadable manifest and cut-off weights are three clear errors."""
    with pytest.raises(UsageError, match="there is no adapter"):
        read_adapter_manifest(tmp_path / "none")
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in (trained[0] / "taste").iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = broken / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(DataError, match="cannot be read"):
        merge_adapter(broken, base, "tiny", tmp_path / "models")
    (broken / ADAPTER_MANIFEST).write_text("{}")
    with pytest.raises(DataError, match="cannot be read"):
        list_adapters(tmp_path)


def test_the_merged_model_answers_as_the_adapted_one(trained, base, tmp_path):
    """A plain folder that is found by name and needs no peft gives the same logits, and other ones than the base."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = merge_adapter(trained[0] / "taste", base, "tiny", tmp_path)
    assert folder == find_model("tiny--taste", tmp_path)
    tokens = torch.tensor([[3, 4, 5, 6]])
    with torch.no_grad():
        adapted = load_lora(load_llm(base, torch.device("cpu")), trained[0] / "taste")
        wanted = adapted(input_ids=tokens).logits
        merged = AutoModelForCausalLM.from_pretrained(folder)(input_ids=tokens).logits
        plain = AutoModelForCausalLM.from_pretrained(base)(input_ids=tokens).logits
    assert torch.allclose(merged, wanted, atol=1e-4)
    assert not torch.allclose(merged, plain, atol=1e-2)
    assert (folder / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()


def test_a_text_adapter_says_what_it_read(store, workspace):
    """Its kind, domain and metrics are in the manifest; it has no labels."""
    with Store.open(f"sqlite:///{workspace.adapters_dir.parent / 's.sqlite'}") as large:
        fill(large, people=1, items=400)
        made = train_on_texts("reader", large, "books", load_template("item"), workspace, RUN)
    assert (made.kind, made.data.domains, made.labels) == ("text", ("books",), "")
    assert "perplexity" in made.metrics


def test_data_that_teaches_nothing_is_an_error(workspace, store, tmp_path):
    """One domain only, a pair of one domain, a domain that is not there, and a bad name; nothing is left behind."""
    with Store.open(f"sqlite:///{tmp_path / 'one.sqlite'}") as one:
        one.upsert_items(list(store.iter_items("films")), "run")
        with pytest.raises(UsageError, match="1 domain"):
            train_judge("a", one, "pointwise-logprob", TEMPLATE, workspace, RUN)
    with pytest.raises(UsageError, match="is one domain"):
        train_judge("a", store, "pointwise-logprob", TEMPLATE, workspace, RUN, [("films", "films")])
    with pytest.raises(UsageError, match="no domain 'games'"):
        train_judge("a", store, "pointwise-logprob", TEMPLATE, workspace, RUN, [("films", "games")])
    with pytest.raises(UsageError, match="no name for an adapter"):
        train_judge("../a", store, "pointwise-logprob", TEMPLATE, workspace, RUN)
    assert not workspace.adapters_dir.exists()


def test_layers_that_are_not_there_are_an_error(base):
    """The tiny model has two."""
    with pytest.raises(UsageError, match="2 layers, not 3"):
        open_llm_for_training(base, LoraSettings(layers=3), device="cpu")


def test_only_the_last_layers_are_adapted(base):
    """Nothing below them is trained."""
    model = open_llm_for_training(base, LoraSettings(layers=1), device="cpu").peft_model
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert names
    assert all(".layers.1." in name for name in names)


def test_a_folder_without_a_model_says_so(tmp_path):
    """An empty folder is no language model."""
    with pytest.raises(ModelMissing):
        open_llm_for_training(tmp_path, LoraSettings(), device="cpu")


def test_adapters_are_served_beside_the_model(trained, base):
    """vLLM is given each by name, and a largest rank that it accepts; without adapters nothing of the sort."""
    pytest.importorskip("vllm")
    settings = LLMSettings(adapters={"taste": trained[0] / "taste"})
    command = vllm_command(base, "tiny", settings)
    at = command.index("--enable-lora")
    assert command[at + 1 : at + 5] == ["--max-lora-rank", "8", "--lora-modules", f"taste={trained[0] / 'taste'}"]
    assert "--enable-lora" not in vllm_command(base, "tiny", LLMSettings())


def test_settings_keep_what_is_not_changed(tmp_path):
    """Comments and other values stay; None takes a value out; a file that is no TOML is an error and stays."""
    path = tmp_path / "xdrec.toml"
    path.write_text('# mine\nhome = "h"\n\n[llm]\nport = 9000 # kept\nadapter = "old"\n')
    set_values(path, "llm", {"model": "tiny--taste", "adapter": None})
    assert tomllib.loads(path.read_text()) == {"home": "h", "llm": {"port": 9000, "model": "tiny--taste"}}
    assert "# mine" in path.read_text()
    assert "# kept" in path.read_text()
    path.write_text("[llm\n")
    with pytest.raises(UsageError):
        set_values(path, "llm", {"model": "x"})
    assert path.read_text() == "[llm\n"


def test_train_list_and_use_from_the_command_line(base, tmp_path, monkeypatch, capsys):
    """`adapt llm`, `adapt list` and `adapt use` lead from a store to a model that the settings name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDREC_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("XDREC_LLM__MODEL", str(base))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["xdrec", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capsys.readouterr()

    with Store.open("sqlite:///.xdrec/store.sqlite") as store:
        fill(store, people=120)
    code, out, err = run("adapt", "llm", "taste", "--pair", "films:books", "--steps", "1", "--rank", "2", "--json")
    assert code == 0, err
    assert json.loads(out)["data"]["pairs"] == ["films:books"]
    code, out, _ = run("adapt", "list")
    assert code == 0
    assert out.startswith("taste")
    code, out, err = run("adapt", "use", "taste")
    assert code == 0, err
    named = tomllib.loads((tmp_path / "xdrec.toml").read_text())["llm"]["model"]
    assert find_model(named, tmp_path / "models").name == named == f"{base.name}--taste"
    assert run("adapt", "use", "taste", "--beside")[0] == 0
    assert tomllib.loads((tmp_path / "xdrec.toml").read_text())["llm"]["adapter"] == "taste"
    assert run("adapt", "use", "none")[0] == 2
    assert run("adapt", "llm", "x", "--without", "books")[0] == 2
    assert run("adapt", "llm", "x", "--pair", "films")[0] == 2
