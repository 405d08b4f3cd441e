"""Loader of sweep files: all problems at once with their locations; profiles and overrides; the resulting sweep."""

from __future__ import annotations

import json
import pickle
import re
import textwrap

import pytest

from search_space import ATTENTION_SPECS, SpecError, load_sweep, load_sweep_text, variants
from search_space.schema.training.seeding import Seeding
from search_space.schema.trial import ArchSpec, TrainSpec

GOOD = """\
name: good
baseline:
  arch: {depth: 4, embed_dim: 40, num_heads: 4}
  train: {epochs: 10, lr: 1e-3}
space:
  arch.depth: [2, 4]
design: one_factor
seeds: [3, 5]
prune: {pruner: median, n_startup_trials: 4}
resources: {cpus: 0.5}
published:
  - {when: {arch.depth: 12}, top1: 79.9, params_m: 5, source: "DeiT, Table 5"}
profiles:
  smoke: {train.epochs: 1, seeds: 1, prune: null, arch.attention.blocks: all}
  short: {train.epochs: 2}
"""


# Legal names by the field that a message is about, so that a new mechanism or option changes no test of messages.
LISTS = {
    "mechanisms": sorted(ATTENTION_SPECS),
    "arch": sorted(ArchSpec.model_fields),
    "paths of arch": sorted(f"arch.{name}" for name in ArchSpec.model_fields),
    "paths of train": sorted(f"train.{name}" for name in TrainSpec.model_fields),
}


def with_lists(message: str) -> str:
    """The message with each `<list>` written out; a line of more than 112 characters is wrapped, as it is printed."""

    def line(written: str) -> str:
        full = re.sub("<(.*?)>", lambda match: ", ".join(LISTS[match[1]]), written)
        if full == written or len(full) <= 2 + 112:
            return full
        return textwrap.fill(full, 112, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)

    return "\n".join(map(line, message.split("\n")))


def printed(text: str, **options: object) -> str:
    with pytest.raises(SpecError) as caught:
        load_sweep_text(text, "s.yaml", **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_a_sweep_has_the_values_of_its_file() -> None:
    file = load_sweep_text(GOOD.replace(", arch.attention.blocks: all", ""), "s.yaml")
    sweep = file.sweep
    assert (sweep.name, sweep.seeds, sweep.metric, sweep.design.name) == ("good", (3, 5), "top1", "one_factor")
    assert (sweep.baseline.arch.depth, sweep.baseline.train.lr) == (4, 0.001)
    assert sweep.prune is not None
    assert (sweep.prune.pruner, sweep.prune.options) == ("median", {"n_startup_trials": 4})
    assert (sweep.resources.cpus, sweep.resources.gpus) == (0.5, 0.0)
    assert [(row.when, row.values, row.source) for row in sweep.published] == [
        ({"arch.depth": 12}, {"top1": 79.9, "params_m": 5.0}, "DeiT, Table 5")
    ]
    assert sweep.search is None
    assert pickle.loads(pickle.dumps(sweep)) == sweep


@pytest.mark.parametrize(("written", "seeds"), [("1", (0,)), ("3", (0, 1, 2)), ("[7]", (7,)), ("[2, 0]", (2, 0))])
def test_seeds_are_a_count_or_a_list(written: str, seeds: tuple[int, ...]) -> None:
    assert load_sweep_text(f"name: a\nbaseline: {{}}\ndesign: factorial\nseeds: {written}\n").sweep.seeds == seeds


@pytest.mark.parametrize("written", ["0", "-1", "[]", "[1, 1]", "[-1]", "[2147483648]", "10001", "1.5", "true", "null"])
def test_other_seeds_are_refused_at_their_place(written: str) -> None:
    text = f"name: a\nbaseline: {{}}\ndesign: factorial\nseeds: {written}\n"
    assert printed(text).startswith("s.yaml:4:")


def test_an_unknown_kind_hides_no_other_problem_and_causes_none() -> None:
    text = """\
name: kinds
baseline:
  arch: {attention: {name: refinr, expansion: 3}}
  task: {name: pyhton, function: "train:train", measures: {score: maximize}, config: {lr: 0.1}}
space: {arch.attention.expansion: [2], task.config.lr: [0.2], arch.depth: [x]}
design: one_factor
metric: score
seeds: [1, 1]
"""
    found = [line.split(": ", 2)[1] for line in printed(text).splitlines() if line.startswith("s.yaml:")]
    assert found == ["baseline.arch.attention.name", "baseline.task.name", "space.arch.depth[0]", "seeds[1]"]


def test_a_misspelt_measure_is_the_only_problem_of_its_task() -> None:
    task = '{name: python, function: "train:train", measures: {recall@1: maximize}, config: {lr: 0.1}}'
    text = (
        f"name: a\nbaseline: {{task: {task}}}\nspace: {{task.config.lr: [0.2]}}\ndesign: one_factor\nmetric: recall@1\n"
    )
    assert printed(text).startswith("s.yaml:2:")
    assert printed(text).count("s.yaml:") == 1


def test_all_problems_are_reported_at_once_in_the_order_of_the_file() -> None:
    text = """\
name: many
baseline:
  arch: {depht: 4, attention: {name: refiner, expansion: big}}
  train: {lr: 1e-3, lr: 1e-2}
space:
  arch.depth: [2, two]
  arch.width: [1]
design: one_factor
metric: top2
require: [arch.depth + 1]
profiles: {smoke: {train.epoch: 1}}
"""
    assert printed(text) == with_lists(
        """\
s.yaml:3:10: baseline.arch.depht: unknown key 'depht' in `arch`
      arch: {depht: 4, attention: {name: refiner, expansion: big}}
             ^
  known: <arch>.  Did you mean 'depth'?
s.yaml:3:58: baseline.arch.attention.expansion: must be a number, but got 'big'
      arch: {depht: 4, attention: {name: refiner, expansion: big}}
                                                             ^
s.yaml:4:21: the key 'lr' is given twice (first on line 4)
      train: {lr: 1e-3, lr: 1e-2}
                        ^
  remove one of them
s.yaml:6:19: space.arch.depth[1]: must be a whole number, but got 'two'
      arch.depth: [2, two]
                      ^
s.yaml:7:3: space.arch.width: unknown path 'arch.width'
      arch.width: [1]
      ^
  known: <paths of arch>.
s.yaml:9:9: metric: unknown metric 'top2'
    metric: top2
            ^
  known: auroc, balanced_accuracy, ece, loss, macro_f1, top1, top5.  Did you mean 'top5'?
s.yaml:10:11: require[0]: 'arch.depth + 1' is not a requirement: it is neither true nor false
    require: [arch.depth + 1]
              ^
  write a comparison, such as  params_m <= 25
s.yaml:11:20: profiles.smoke.train.epoch: unknown key 'train.epoch' in a profile
    profiles: {smoke: {train.epoch: 1}}
                       ^
  known: <paths of train>.  Did you mean 'train.epochs'?"""
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "",
            "s.yaml:1:1: a sweep is a mapping with name, baseline, design, ..., but this file contains nothing\n"
            "  `archsweep init` writes one to start from",
        ),
        (
            "- a\n",
            "s.yaml:1:1: a sweep is a mapping with name, baseline, design, ..., but this file contains a list\n"
            "  `archsweep init` writes one to start from",
        ),
        (
            "{}\n",
            "s.yaml:1:1: name: is missing\n    {}\n    ^\n"
            "  every sweep has a name; it names the folder of the run\n"
            "s.yaml:1:1: baseline: is missing\n    {}\n    ^\n"
            "  baseline: {arch: {...}, task: {...}, train: {...}}\n"
            "s.yaml:1:1: design: is missing\n    {}\n    ^\n"
            "  known: add_one_in, cumulative, factorial, fractional, leave_one_out, list, one_factor, path, search, "
            "shapley,\n    zip.",
        ),
        (
            "name: ../up\nbaseline: {}\ndesign: factorial\n",
            "s.yaml:1:7: name: may only contain letters, digits, `-`, `_` and `.`, and start with a letter or digit, "
            "but got '../up'\n    name: ../up\n          ^\n  it names the folder of the run",
        ),
        (
            "name: a\nbaseline: {train: {amp: on}}\ndesign: factorial\n",
            "s.yaml:2:25: baseline.train.amp: unknown value 'on'\n"
            "    baseline: {train: {amp: on}}\n"
            "                            ^\n"
            "  known: auto, bfloat16, float16, off, tf32.",
        ),
        (
            "name: a\nbaseline: {arch: {img_size: big, options: {x: {y: 1}}}}\ndesign: factorial\n",
            "s.yaml:2:29: baseline.arch.img_size: must be a side, or [height, width], but got 'big'\n"
            "    baseline: {arch: {img_size: big, options: {x: {y: 1}}}}\n"
            "                                ^\n"
            "s.yaml:2:47: baseline.arch.options.x: must be true or false, a whole number, a number, text or a "
            "list, but got a mapping with 'y'\n"
            "    baseline: {arch: {img_size: big, options: {x: {y: 1}}}}\n"
            "                                                  ^",
        ),
        (
            "name: a\nbaseline: {arch: {attention: {name: refiner, blocks: {last: 1, lst: 2}}}}\ndesign: factorial\n",
            "s.yaml:2:64: baseline.arch.attention.blocks.lst: unknown key 'lst' in `blocks`\n"
            "    baseline: {arch: {attention: {name: refiner, blocks: {last: 1, lst: 2}}}}\n"
            "                                                                   ^\n"
            "  known: last.  Did you mean 'last'?",
        ),
        (
            "name: a\nbaseline: {arch: {attention: {name: refiner, blocks: 3}}}\ndesign: factorial\n",
            "s.yaml:2:54: baseline.arch.attention.blocks: cannot be 3\n"
            "    baseline: {arch: {attention: {name: refiner, blocks: 3}}}\n"
            "                                                         ^\n"
            "  write all, {last: k}, {first: k}, {every: k} or a list of block numbers",
        ),
        (
            "name: a\nbaseline: {arch: {attention: {expansion: 2}}}\ndesign: factorial\n",
            "s.yaml:2:30: baseline.arch.attention: the attention has no `name`\n"
            "    baseline: {arch: {attention: {expansion: 2}}}\n"
            "                                 ^\n"
            "  known: <mechanisms>.",
        ),
        (
            "name: a\nbaseline: {task: {dataset: {name: builtin/shapes, side: 3}}}\ndesign: factorial\n",
            "s.yaml:2:51: baseline.task.dataset.side: unknown key 'side' in dataset 'builtin/shapes'\n"
            "    baseline: {task: {dataset: {name: builtin/shapes, side: 3}}}\n"
            "                                                      ^\n"
            "  known: data_seed, img_size, in_chans, noise, num_test, num_train.",
        ),
        (
            "name: a\nbaseline: {}\ndesign: {name: list}\nspace: {arch.depth: [1]}\n",
            "s.yaml:3:9: design: the design 'list' needs `rows`\n"
            "    design: {name: list}\n"
            "            ^\n"
            "  design: {name: list, rows: [{arch.depth: 4}, {arch.depth: 6, name: deep}]}\n"
            "s.yaml:4:8: space: `space` has no effect in the design 'list', whose rows are listed below `design`\n"
            "    space: {arch.depth: [1]}\n"
            "           ^\n"
            "  remove it, or choose another design",
        ),
        (
            "name: a\nbaseline: {}\ndesign: {name: list, rows: [{arch.depth: 0}, {arch.dept: 1}]}\n",
            "s.yaml:3:42: design.rows[0].arch.depth: must be at least 1, but got 0\n"
            "    design: {name: list, rows: [{arch.depth: 0}, {arch.dept: 1}]}\n"
            "                                             ^\n"
            "s.yaml:3:47: design.rows[1].arch.dept: unknown path 'arch.dept'\n"
            "    design: {name: list, rows: [{arch.depth: 0}, {arch.dept: 1}]}\n"
            "                                                  ^\n"
            "  known: <paths of arch>.  Did you mean 'arch.depth'?",
        ),
        (
            "name: a\nbaseline: {}\nspace: {arch.depth: [1, 2]}\ndesign: search\nsearch: {num_trials: 3, samplr: tpe}\n"
            "seeds: 3\n",
            "s.yaml:5:25: search.samplr: unknown key 'samplr' in `search`\n"
            "    search: {num_trials: 3, samplr: tpe}\n"
            "                            ^\n"
            "  Did you mean 'sampler'?",
        ),
        (
            "name: a\nbaseline: {}\nspace: {arch.depth: [1, 2]}\ndesign: search\nmetric: top5\n"
            "search: {num_trials: 3, objectives: [top1, gmac, top1]}\nprune: {pruner: wilcoxon}\n",
            "s.yaml:6:37: search.objectives: the metric of the sweep, 'top5', is none of the objectives\n"
            "    search: {num_trials: 3, objectives: [top1, gmac, top1]}\n"
            "                                        ^\n"
            "  the pruner uses `metric`: add it here, or set it to one of these\n"
            "s.yaml:6:44: search.objectives[1]: unknown objective 'gmac'\n"
            "    search: {num_trials: 3, objectives: [top1, gmac, top1]}\n"
            "                                               ^\n"
            "  known: auroc, balanced_accuracy, ece, gmacs, loss, macro_f1, params_m, top1, top5.  Did you mean "
            "'gmacs'?\n"
            "s.yaml:6:50: search.objectives[2]: the objective 'top1' is given twice\n"
            "    search: {num_trials: 3, objectives: [top1, gmac, top1]}\n"
            "                                                     ^\n"
            "s.yaml:7:17: prune.pruner: pruning over seeds compares variants by their finished seeds, "
            "but there is 1 seed\n"
            "    prune: {pruner: wilcoxon}\n"
            "                    ^\n"
            "  raise `seeds`, or compare trials by their curves: a pruner with  over: epochs",
        ),
    ],
)
def test_messages_show_the_given_and_the_legal_values(text: str, expected: str) -> None:
    assert printed(text) == with_lists(expected)


def test_a_profile_changes_baseline_and_sections() -> None:
    text = GOOD.replace("arch.attention.blocks: all", "arch.attention: groupmix, task.dataset.img_size: 16").replace(
        "  train:", "  task: {dataset: builtin/shapes}\n  train:"
    )
    sweep = load_sweep_text(text, profile="smoke").sweep
    assert (sweep.seeds, sweep.prune, sweep.baseline.train.epochs) == ((0,), None, 1)
    assert (sweep.baseline.arch.attention.name, sweep.baseline.arch.depth, sweep.baseline.train.lr) == (
        "groupmix",
        4,
        0.001,
    )
    assert sweep.baseline.task.dataset.model_dump()["img_size"] == 16
    assert load_sweep_text(text).sweep.baseline.train.epochs == 10


def test_overrides_come_after_the_profile_and_are_read_as_yaml() -> None:
    text = GOOD.replace(", arch.attention.blocks: all", "")
    overrides = [
        "train.epochs=7",
        "space.arch.depth=[4, 6, 8]",
        "train.lr=2e-3",
        "prune.pruner=hyperband",
        "name=other",
    ]
    file = load_sweep_text(text, profile="short", overrides=overrides)
    assert (file.sweep.baseline.train.epochs, file.sweep.baseline.train.lr, file.sweep.name) == (7, 0.002, "other")
    assert [choice.value for choice in file.sweep.parameter_choices("arch.depth")] == [4, 6, 8]
    assert file.sweep.prune is not None
    assert file.sweep.prune.options == {"n_startup_trials": 4}
    assert file.resolved["baseline"]["train"] == {"epochs": 7, "lr": 0.002}
    assert file.text == text


@pytest.mark.parametrize(
    "written", ["{values: 5, vary: [init, order]}", "{max: 12, looks: [3, 12], futility: none, vary: [init, order]}"]
)
def test_another_number_of_seeds_varies_the_same_sources(written: str) -> None:
    """And a mapping replaces the whole section, looks and sources."""
    text = GOOD.replace("seeds: [3, 5]\n", f"seeds: {written}\n").replace(", arch.attention.blocks: all", "")
    assert f"seeds: {written}" in text
    for found in (load_sweep_text(text, profile="smoke"), load_sweep_text(text, overrides=["seeds=[3, 4]"])):
        assert found.sweep.baseline.train.seeding.vary == ("init", "order")
    assert found.sweep.seeds == (3, 4)
    assert load_sweep_text(text, overrides=["seeds={values: 2}"]).sweep.baseline.train.seeding == Seeding()
    wrong = "seeds=none"
    assert printed(text, overrides=[wrong]).startswith(f"--set {wrong}: seeds")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.epochs=x", "--set train.epochs=x: baseline.train.epochs: must be a whole number, but got 'x'"),
        ("train.epoch=1", "--set train.epoch=1: unknown path 'train.epoch'"),
        ("epochs=1", "--set epochs=1: unknown path 'epochs'\n  Did you mean 'train.epochs'?"),
        (
            "train.epochs",
            "--set train.epochs: must be path=value\n  for example  --set train.epochs=2  (null: no value)",
        ),
        ("train.lr=.inf", "--set train.lr=.inf: .inf is not a finite number"),
        (
            "space.arch.depth=[two]",
            "--set space.arch.depth=[two]: space.arch.depth[0]: must be a whole number, but got 'two'",
        ),
    ],
)
def test_an_invalid_override_is_quoted_as_typed(override: str, expected: str) -> None:
    text = GOOD.replace(", arch.attention.blocks: all", "")
    assert printed(text, overrides=[override]).split("\n  known:")[0] == expected


def test_profiles_are_checked_although_they_are_not_chosen() -> None:
    """`blocks` is not an option of softmax, the baseline's attention."""
    assert printed(GOOD) == (
        "s.yaml:14:51: baseline.arch.attention.blocks: with the profile 'smoke': "
        "unknown key 'blocks' in attention 'softmax'\n"
        "      smoke: {train.epochs: 1, seeds: 1, prune: null, arch.attention.blocks: all}\n"
        "                                                      ^\n"
        "  attention 'softmax' has no options"
    )


def test_an_unknown_profile_names_the_known_ones() -> None:
    assert printed(GOOD, profile="smok") == (
        "--profile smok: unknown profile 'smok'\n  known: short, smoke.  Did you mean 'smoke'?"
    )
    assert printed("name: a\n", profile="x") == "--profile x: unknown profile 'x'\n  the sweep declares no profiles"


def test_later_stages_can_point_into_the_file() -> None:
    file = load_sweep_text(GOOD.replace(", arch.attention.blocks: all", ""), "s.yaml", overrides=["train.opt=sgd"])
    places = {
        "prune.n_startup_trials": "s.yaml:9:43",
        "space.arch.depth": "s.yaml:6:15",
        "baseline.train.lr": "s.yaml:4:27",
        "baseline.train.sched": "s.yaml:4:10",
        "baseline.train.opt": "--set train.opt=sgd",
    }
    assert {path: file.problem(path, "m").where for path in places} == places
    assert file.problem(("published", 0, "source"), "m").where == "s.yaml:12:63"
    assert str(file.problem("prune.n_startup_trials", "too many", "fewer", at_key=True)) == (
        "s.yaml:9:25: prune.n_startup_trials: too many\n"
        "    prune: {pruner: median, n_startup_trials: 4}\n"
        "                            ^\n"
        "  fewer"
    )


def test_a_sweep_is_read_from_a_file(tmp_path) -> None:
    (tmp_path / "s.yaml").write_text(GOOD.replace(", arch.attention.blocks: all", ""))
    file = load_sweep(tmp_path / "s.yaml")
    assert (file.path, file.sweep.name) == (str(tmp_path / "s.yaml"), "good")


SPACE = "name: a\nbaseline: {{arch: {{depth: 4, num_heads: 4}}}}\ndesign: {design}\nspace:\n  {space}\n"


@pytest.mark.parametrize(
    ("design", "space", "expected"),
    [
        (
            "factorial",
            "arch.depth: []",
            "s.yaml:5:15: space.arch.depth: needs at least 1 value, but got an empty list",
        ),
        (
            "factorial",
            "arch.depth: 4",
            "s.yaml:5:15: space.arch.depth: cannot be read as values of a parameter: 4",
        ),
        (
            "factorial",
            "{arch.attention: [softmax, refiner], arch.attention.name: [softmax]}",
            "s.yaml:5:40: space.arch.attention.name: 'arch.attention.name' and 'arch.attention' change the same value",
        ),
        (
            "factorial",
            "arch.depth: {min: 2, max: 6}",
            "s.yaml:5:15: space.arch.depth: a range is legal only in a search, not in the design 'factorial'",
        ),
        (
            "factorial",
            "tricks: {off: 1, on: 2}",
            "s.yaml:5:17: space.tricks.off: 'tricks' is not a path, so the component needs a mapping of paths, "
            "but got 1",
        ),
        (
            "add_one_in",
            "tricks: {off: {train.lr: 1}, on: {train.lr: 1}}",
            "s.yaml:5:36: space.tricks.on: on and off are the same",
        ),
        (
            "add_one_in",
            "arch.depth: {off: 4, on: 4}",
            "s.yaml:5:28: space.arch.depth.on: on and off are the same",
        ),
        (
            "add_one_in",
            "arch.depth: {off: 4, onn: 4}",
            "s.yaml:5:15: space.arch.depth.on: is missing",
        ),
        (
            "add_one_in",
            "{depth: {off: {train.lr: 1}, on: {train.lr: 2}}, arch.depth: [2, 4]}",
            "s.yaml:5:52: space.arch.depth: the name 'depth' already denotes 'depth'",
        ),
        (
            "zip",
            "{arch.depth: [2, 4], arch.num_heads: [1]}",
            "s.yaml:5:3: space: the design 'zip' needs lists of equal length, "
            "but arch.depth has 2, arch.num_heads has 1",
        ),
        (
            "zip",
            "arch.attention: [{value: refiner, with: {expansion: [1, 2]}}]",
            "s.yaml:5:43: space.arch.attention[0].with: a choice of the design 'zip' cannot have parameters of its own",
        ),
        (
            "factorial",
            "arch.depth: [{value: 2, name: x}, {value: 3, name: x}]",
            "s.yaml:5:54: space.arch.depth[1].name: the label 'x' is given twice",
        ),
        (
            "factorial",
            "arch.depth: [{value: 2, wth: {}}]",
            "s.yaml:5:16: space.arch.depth[0]: must be a whole number, but got a mapping with 'value', 'wth'",
        ),
        ("factorial", "arch.depth: [{with: {}}]", "s.yaml:5:16: space.arch.depth[0].value: is missing"),
        (
            "factorial",
            "arch.attention: [{value: refiner, with: {expansoin: [1]}}]",
            "s.yaml:5:44: space.arch.attention[0].with.expansoin: unknown path 'arch.attention.expansoin'",
        ),
        (
            "factorial",
            "arch.attention: [{value: refiner, with: {expansion: [1, many]}}]",
            "s.yaml:5:59: space.arch.attention[0].with.expansion[1]: must be a number, but got 'many'",
        ),
        ("factorial", "arch.depth: [2, 2.0]", "s.yaml:5:19: space.arch.depth[1]: must be a whole number, but got 2.0"),
        (
            "factorial",
            "arch.num_heads: [true]",
            "s.yaml:5:20: space.arch.num_heads[0]: must be a whole number, but got true",
        ),
        (
            "one_factor",
            "arch.attention: [groupmix, {name: groupmix, kernel_sizes: [3, 5, 7]}]",
            "s.yaml:5:30: space.arch.attention[1]: is the same as value 1 of this list",
        ),
    ],
)
def test_invalid_parameters_are_refused_at_their_location(design: str, space: str, expected: str) -> None:
    assert printed(SPACE.format(design=design, space=space)).split("\n")[0] == expected


def test_a_probe_cannot_rank_variants() -> None:
    text = "name: s\nbaseline: {}\nspace: {arch.depth: [1, 2]}\ndesign: one_factor\nmetric: attention_entropy\n"
    assert printed(text) == (
        "s.yaml:5:9: metric: 'attention_entropy' is neither maximised nor minimised, so it cannot rank variants\n"
        "    metric: attention_entropy\n"
        "            ^\n"
        "  known: auroc, balanced_accuracy, ece, loss, macro_f1, top1, top5.  `task.probes` measures it beside the "
        "metric"
    )


def test_the_regulariser_can_be_swept_whole_and_in_parts() -> None:
    text = (
        "name: s\nbaseline: {task: {probes: [head_similarity]}}\ndesign: one_factor\n"
        "space: {train.cosine_regulariser: [null, {pairs: 3}], arch.depth: [12, 24]}\n"
    )
    file = load_sweep_text(text)
    assert file.sweep.baseline.task.probes == ("head_similarity",)
    found = [variant.setting.train.cosine_regulariser for variant in variants(file.sweep)]
    assert [one and (one.pairs, one.weight) for one in found] == [None, (3, 0.1), None]
    parts = text.replace("train.cosine_regulariser: [null, {pairs: 3}]", "train.cosine_regulariser.weight: [0.1, 1.0]")
    weights = [variant.setting.train.cosine_regulariser for variant in variants(load_sweep_text(parts).sweep)]
    assert 1.0 in [one.weight for one in weights if one]


@pytest.mark.parametrize(
    "name", ["/../../../esc", "../esc", "..", ".", ".hidden", "-x", "a/b", "a\\b", "a b", "", "a\n", "a\0", "\u00e4"]
)
@pytest.mark.parametrize("section", ["profiles", "studies"])
def test_what_becomes_part_of_a_folder_is_a_name_and_no_path(name: str, section: str) -> None:
    """A profile names `runs/SWEEP-PROFILE`, a study `runs/SWEEP-STUDY`."""
    text = f"name: a\nbaseline: {{}}\ndesign: one_factor\n{section}:\n  {json.dumps(name)}: {{}}\n"
    with pytest.raises(SpecError) as caught:
        load_sweep_text(text, "s.yaml")
    found = [(problem.where, problem.message) for problem in caught.value.problems]
    kind = {"profiles": "profile", "studies": "study"}[section]
    assert [where for where, message in found if message.startswith(f"a {kind} cannot be named")] == ["s.yaml:5:3"]


@pytest.mark.parametrize("section", ["profiles", "studies"])
def test_names_of_folders_are_no_longer_than_a_file_system_allows(section: str) -> None:
    text = f"name: a\nbaseline: {{}}\ndesign: one_factor\n{section}:\n  {'a' * 101}: {{}}\n"
    with pytest.raises(SpecError, match="at most 100"):
        load_sweep_text(text, "s.yaml")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("baseline: {arch: {model: NAME}}\ndesign: one_factor\n", "s.yaml:2:26"),
        ("baseline: {}\nspace: {arch.model: [vit, NAME]}\ndesign: one_factor\n", "s.yaml:3:27"),
        ("baseline: {}\ndesign: {name: list, rows: [{arch.model: NAME}]}\n", "s.yaml:3:42"),
        ("baseline: {}\ndesign: one_factor\nprofiles: {p: {arch.model: NAME}}\n", "s.yaml:4:28"),
    ],
)
@pytest.mark.parametrize("tag", ["augreg_in21k", "nosuch", ""])
def test_a_model_with_the_tag_of_its_weights_is_refused(text: str, place: str, tag: str) -> None:
    """timm loads the weights of a tag; here it would train from scratch without a word."""
    with pytest.raises(SpecError) as caught:
        load_sweep_text("name: a\n" + text.replace("NAME", f"vit_tiny_patch16_224.{tag}"), "s.yaml")
    (problem,) = caught.value.problems
    assert problem.where == place
    assert problem.message.removeprefix("with the profile 'p': ") == (
        "must be a model's name without the tag of its weights, because trials train from scratch unless arch.weights "
        f"is set (write 'vit_tiny_patch16_224'), but got 'vit_tiny_patch16_224.{tag}'"
    )


def test_null_on_the_command_line_takes_back_what_the_file_writes() -> None:
    text = "name: a\nbaseline: {train: {lr: 3e-3, clip_grad: 1.0}}\nspace: {train.lr: [1e-2]}\ndesign: one_factor\n"
    assert "lr_base takes the place of lr" in printed(text, overrides=["train.lr_base=0.1", "space=null"])
    file = load_sweep_text(text, overrides=["train.lr=null", "train.lr_base=0.1", "train.clip_grad=null", "space=null"])
    assert (file.sweep.baseline.train.lr_base, file.sweep.baseline.train.clip_grad, file.sweep.space) == (0.1, None, {})
    assert "lr" not in file.sweep.baseline.train.model_fields_set
