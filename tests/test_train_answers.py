"""Learning to answer: which tokens are asked for, that the loss falls on them, and that the vector comes to mean it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from tiny_answer_models import profile, tiny_llama, tiny_opt, tiny_roberta
from tiny_training import answering, crossing, kept, labelled, written

from instructsearch import embed
from instructsearch.embed.answer import AnswerEmbedder
from instructsearch.errors import BadProfile, BadVector, ModelDamaged, ReadError, TooLong
from instructsearch.train import answers, loop, save
from instructsearch.train.answers import LONGEST, AnswerLearner
from instructsearch.train.examples import Example
from instructsearch.train.learner import Learner
from instructsearch.train.settings import Settings

MODELS = {
    "roberta": (tiny_roberta, "inbedder-roberta-large", "{text} {instruction}?<mask><mask><mask>"),
    "opt": (tiny_opt, "inbedder-opt-1.3b", "{text} {instruction}?"),
    "llama": (tiny_llama, "inbedder-llama2-7b", "{text} {instruction}?"),
}
CAUSAL = ["opt", "llama"]
QUESTIONS = ("sentence", "colour")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
THINGS = {"roberta": ("mat", "sat"), "opt": ("cat", "mat"), "llama": ("cat", "mat")}
MOODS = ("angry", "red")  # of either two, each tokenizer begins one with another token than the other


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Models this small only lose by sharing the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def profiles(tmp_path_factory):
    base = tmp_path_factory.mktemp("answers")
    made = {}
    for name, (make, like, template) in MODELS.items():
        both = {"query_template": template, "document_template": template}
        made[name] = profile(make(base / name), like, **both)
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return data_of("opt", tmp_path_factory.mktemp("data"))


def data_of(name, folder):
    answers = answering(LETTERS, things=THINGS[name], colours=MOODS)
    return written(folder / "e.jsonl", [*answers, *labelled("ab"), *kept("ab")])


def learner_of(profile, **options):
    learner = AnswerLearner(profile, device="cpu", **options)
    learner.bfloat16 = False
    return learner


def asked(learner, text, question, answer):
    return learner.asked([Example((question, text), ("", answer), None, "t")])[0]


def shown(learner, ids):
    return learner.tokeniser.tokenizer.decode(ids.tolist(), skip_special_tokens=False)


# --- what is asked


@pytest.mark.parametrize("name", CAUSAL)
def test_a_causal_model_predicts_the_answer_behind_the_prompt_and_that_it_ends(name, profiles):
    learner = learner_of(profiles[name])
    row = asked(learner, "a red cat", "colour", "red")
    [prompt] = learner.tokeniser.tokenise([("colour", "a red cat")], "document")
    answer = learner.tokeniser.tokenizer.encode("red", add_special_tokens=False).ids
    assert row.ids.tolist() == [*prompt.ids.tolist(), *answer]
    wanted = [*answer, learner.tokeniser.eos_id]
    assert row.targets.tolist() == [-100] * (len(prompt.ids) - 1) + wanted
    assert learner.tokeniser.tokenizer.id_to_token(wanted[-1]) == "</s>"


@pytest.mark.parametrize("answer", ["mat", "red", "red and blue"])
def test_a_masked_model_predicts_it_in_the_place_of_the_templates_masks_and_their_number_tells_nothing(
    answer, profiles
):
    learner = learner_of(profiles["roberta"])
    row = asked(learner, "a <mask> red cat", "colour", answer)
    assert shown(learner, row.ids) == "<s>a <mask> red cat colour?<mask><mask><mask></s>"
    wanted = learner.tokeniser.tokenizer.encode(answer, add_special_tokens=False).ids
    wanted = [*wanted, -100, -100][:3]
    assert row.targets.tolist() == [-100] * (len(row.ids) - 4) + [*wanted, -100]


@pytest.mark.parametrize("name", MODELS)
def test_a_long_text_is_cut_and_a_long_answer_too_so_that_both_fit_the_window(name, profiles):
    learner = learner_of(profiles[name])
    row = asked(learner, "the cat sat on the mat " * 60, "colour", "red " * 60)
    found = row.targets[row.targets != -100]
    most = 3 if name == "roberta" else LONGEST
    assert found.tolist() == learner.tokeniser.tokenizer.encode("red " * 60, add_special_tokens=False).ids[:most]
    assert learner.length - 5 < len(row.ids) <= learner.length
    assert shown(learner, row.ids).count("colour?") == 1


@pytest.mark.parametrize("name", MODELS)
def test_an_empty_answer_asks_for_nothing_and_alone_it_teaches_nothing(name, profiles):
    learner = learner_of(profiles[name])
    row = asked(learner, "a red cat", "colour", "")
    assert (row.targets == -100).all()
    loss, texts = learner.backward([Example(("colour", "a red cat"), ("", ""), None, "t")], Settings())
    assert (loss, texts) == (0, 1)
    assert all(weight.grad is None for weight in learner.trained.values())


# --- the loss


def plain_loss(name, learner, some):
    """Return the cross entropy of the answers' tokens by transformers' own heads, one example at a time."""
    kind = transformers.AutoModelForMaskedLM if name == "roberta" else transformers.AutoModelForCausalLM
    model = kind.from_pretrained(learner.folder).eval()
    losses = []
    for each in some:
        row = learner.asked([each])[0]
        with torch.no_grad():
            chances = model(torch.from_numpy(row.ids)[None]).logits[0].log_softmax(-1)
        places = np.flatnonzero(row.targets != -100)
        losses += [-float(chances[place, row.targets[place]]) for place in places]
    return np.mean(losses)


@pytest.mark.parametrize("budget", [16, 2048])
@pytest.mark.parametrize("name", MODELS)
def test_the_loss_is_the_mean_over_all_answers_tokens_however_it_is_sliced(name, budget, profiles, monkeypatch):
    monkeypatch.setattr(answers, "BUDGET", budget)
    learner = learner_of(profiles[name])
    some = [*answering("ab")[::5], Example(("colour", "the mat sat on the blue dog"), ("", "red and blue"), None, "t")]
    loss, texts = learner.backward(some, Settings())
    assert (loss, texts) == (pytest.approx(plain_loss(name, learner, some), rel=1e-4), len(some))


@pytest.mark.parametrize("name", MODELS)
def test_gradients_do_not_depend_on_the_slices(name, profiles, monkeypatch):
    found = []
    for budget in (16, 2048):
        monkeypatch.setattr(answers, "BUDGET", budget)
        learner = learner_of(profiles[name])
        learner.backward(answering("ab")[::4], Settings())
        found.append(torch.cat([weight.grad.flatten() for weight in learner.trained.values()]))
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-4)
    assert found[0].abs().max() > 1e-3


# --- what is learned


def near(vectors, labels):
    """Return how much nearer, in cosine, texts of one label are to each other than to those of another."""
    alike = vectors @ vectors.T
    same = np.array([[one == other for other in labels] for one in labels])
    own = np.eye(len(labels), dtype=bool)
    return alike[same & ~own].mean() - alike[~same].mean()


@pytest.fixture(scope="module", params=[("roberta", "full"), ("llama", "full"), ("opt", "lora")], ids="-".join)
def trained(request, profiles, tmp_path_factory):
    name, method = request.param
    data = data_of(name, tmp_path_factory.mktemp("data"))
    learner, lines = learner_of(profiles[name], method=method, rank=16), []
    steps = 150 if name == "opt" else 220
    settings = Settings(steps=steps, batch=16, rate=1e-2 if method == "lora" else 4e-3)
    loop.train(learner, data, settings, tmp_path_factory.mktemp("run"), progress=lines.append)
    return learner, lines, THINGS[name]


def test_the_loss_on_the_answers_falls(trained):
    _, lines, _ = trained
    first, last = (np.mean([line.loss for line in some]) for some in (lines[:10], lines[-10:]))
    assert last < 0.6 * first
    assert {line.task for line in lines} == {"answers/thing", "answers/colour"}


def test_the_state_means_the_answer_to_the_question_asked(trained):
    """On texts not trained on: those with the same answer have come together, and it is likelier than the other one."""
    learner, _, things = trained
    texts = crossing("agmsyeioubhn", things, MOODS)
    start = embed.load(learner.profile, device="cpu")
    with torch.no_grad():
        for at, (question, words) in enumerate(zip(QUESTIONS, (things, MOODS), strict=True), 1):
            labels, others = ([text[each] for text in texts] for each in (at, 3 - at))
            found = learner([(question, text) for text, _, _ in texts], "document").numpy()
            before = start.encode([text for text, _, _ in texts], question)
            assert near(found, labels) > max(near(before, labels), near(found, others)) + 0.15
            assert np.mean([words[preferred(learner, text[0], question, words)] == text[at] for text in texts]) > 0.7


def preferred(learner, text, question, words):
    """Return which of the words is the likelier answer, by the mean over its tokens."""
    chances = []
    for word in words:
        row = asked(learner, text, question, word)
        logits = learner.network.logits(torch.from_numpy(row.ids)[None], torch.ones(1, len(row.ids), dtype=torch.long))
        places = np.flatnonzero(row.targets != -100)
        chances.append(float(logits[0].log_softmax(-1)[places, row.targets[places]].mean()))
    return int(np.argmax(chances))


def test_it_is_saved_with_its_profile_and_loaded_as_an_embed_by_answer_model(trained, tmp_path):
    learner, _, _ = trained
    least = save.save(learner, tmp_path / "model", "answers", rank=32)
    assert least > 0.9999
    found = embed.load(str(tmp_path / "model"), device="cpu")
    assert isinstance(found, AnswerEmbedder)
    found.precision = "float32"
    texts = [text for text, _, _ in crossing("uv")]
    for question in (*QUESTIONS, ""):
        with torch.no_grad(), learner.exactly():
            expected = learner([(question, text) for text in texts], "document").numpy()
        np.testing.assert_allclose(found.encode(texts, question), expected, atol=2e-3)
    [together, _] = found.encode_many(texts, list(QUESTIONS))
    np.testing.assert_allclose(together, found.encode(texts, QUESTIONS[0]), atol=1e-4)


def test_all_weights_are_saved_with_the_head_so_that_training_can_go_on(profiles, data, tmp_path):
    learner = learner_of(profiles["opt"], method="full")
    loop.train(learner, data, Settings(steps=5, batch=8, rate=3e-3), tmp_path / "run")
    save.save(learner, tmp_path / "model", "answers")
    again = learner_of(embed.find(str(tmp_path / "model")), method="full")
    some = answering("gh")
    assert again.backward(some, Settings())[0] == pytest.approx(learner.backward(some, Settings())[0], rel=1e-5)
    assert {path.name for path in (tmp_path / "model").iterdir()} >= {"vocab.json", "merges.txt", "profile.toml"}


def test_training_may_go_on_from_an_adapter(profiles, data, tmp_path):
    learner = learner_of(profiles["llama"])
    loop.train(learner, data, Settings(steps=5, batch=8, rate=3e-3), tmp_path / "run")
    for rank in (0, 32):
        save.save(learner, tmp_path / f"model{rank}", "answers", rank=rank)
        again = learner_of(embed.find(str(tmp_path / f"model{rank}")))
        some = answering("gh")
        assert again.backward(some, Settings())[0] == pytest.approx(learner.backward(some, Settings())[0], rel=0.02)


@pytest.mark.parametrize("name", CAUSAL)
def test_a_layer_before_the_last_is_trained_through_and_read_as_it_will_be(name, profiles, data, tmp_path):
    learner = learner_of(replace(profiles[name], layer=2))
    loop.train(learner, data, Settings(steps=5, batch=8, rate=3e-3), tmp_path / "run")
    assert save.save(learner, tmp_path / "model", "second") > 0.999
    assert embed.load(str(tmp_path / "model"), device="cpu").profile.layer == 2


def test_an_interrupted_run_ends_with_the_weights_of_one_that_was_not(profiles, data, tmp_path):
    settings = Settings(steps=6, batch=6, rate=3e-3, dropout=True)
    whole = learner_of(profiles["roberta"])
    loop.train(whole, data, settings, tmp_path / "whole")
    for step in range(1, 7):
        part = learner_of(profiles["roberta"])
        assert loop.train(part, data, settings, tmp_path / "parts", stop_seconds=1e-9) == step
    assert all(torch.equal(weight, part.trained[name]) for name, weight in whole.trained.items())


# --- what is refused


def test_only_answers_are_learned_and_data_without_any_is_refused(profiles, data, tmp_path):
    learner = learner_of(profiles["opt"])
    assert set(learner.tasks(data)) == {"answers/thing", "answers/colour"}
    with pytest.raises(ReadError, match=r"none\.jsonl: has no answers to learn"):
        loop.train(learner, written(tmp_path / "none.jsonl", [*labelled("ab"), *kept("ab")]), Settings(), tmp_path)


def test_only_a_question_that_is_asked_must_leave_room_for_a_text(profiles, tmp_path):
    learner = learner_of(profiles["opt"])
    long = Example(("What is the colour? " * 40, "red cat"), ("", "red"), None, "t")
    with pytest.raises(TooLong, match="leaves none for the text"):
        learner.tasks(written(tmp_path / "asked.jsonl", [*answering("ab"), long]))
    other = replace(long, positive=("colour", "red"))
    assert "t" not in learner.tasks(written(tmp_path / "other.jsonl", [*answering("ab"), other]))


def test_each_kind_of_profile_has_its_own_learner(profiles):
    with pytest.raises(BadProfile, match="of kind 'answer'; here models of kind 'encoder' are trained"):
        Learner(profiles["opt"])
    with pytest.raises(BadProfile, match="of kind 'encoder'; here models of kind 'answer'"):
        AnswerLearner(replace(profiles["opt"], kind="encoder"))


def test_a_window_without_room_for_an_answer_is_refused(profiles):
    with pytest.raises(BadProfile, match=f"{LONGEST} tokens leave no room for an answer"):
        AnswerLearner(profiles["opt"], length=LONGEST)


def test_a_template_without_a_mask_is_refused(profiles):
    bare = {"query_template": "{text} {instruction}", "document_template": "{text} {instruction}"}
    learner = learner_of(replace(profiles["roberta"], **bare))
    with pytest.raises(BadProfile, match="the template holds no mask token"):
        asked(learner, "a red cat", "colour", "red")


def test_a_checkpoint_without_the_head_is_refused(profiles, tmp_path):
    folder = tiny_roberta(tmp_path / "headless")
    bars = transformers.logging.is_progress_bar_enabled()
    transformers.logging.disable_progress_bar()
    transformers.RobertaModel.from_pretrained(folder).save_pretrained(folder)
    if bars:
        transformers.logging.enable_progress_bar()
    with pytest.raises(ModelDamaged, match="its head is needed for training"):
        AnswerLearner(replace(profiles["roberta"], model=str(folder)))


def test_an_architecture_without_such_a_head_is_refused(profiles):
    with pytest.raises(BadProfile, match="transformers has no masked language model of the architecture 'opt'"):
        AnswerLearner(replace(profiles["opt"], pooling="mask"))


def test_weights_that_blow_up_end_the_run_by_name(profiles, data, tmp_path):
    learner = learner_of(profiles["opt"])
    with torch.no_grad():
        next(iter(learner.trained.values())).fill_(torch.nan)
    with pytest.raises(BadVector, match=r"the loss of step 1 \(answers/\w+\) is not finite"):
        loop.train(learner, data, Settings(steps=2), tmp_path)
