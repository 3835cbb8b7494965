"""Spaces with mistakes: each is answered with its place, what was got and what to do, exit code 2, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import sweeper
from sweeper.cli import main as cli
from sweeper.cli import terminal

SOUND = {
    "name": "name: x",
    "task": "task: {name: modular_arithmetic, operation: x_plus_y, modulus: 31, train_fraction: 0.7}",
    "objective": "objective: {until: val_accuracy > 0.99, horizon: 100}",
    "search": "search: {depth: {int: [1, 2]}, heads: {choice: [2, 4]}}",
    "budget": "budget: {trials: 4}",
}
"""Five sections, one a line; a mistake replaces one of them or comes in line 6 and later."""

SECTIONS = (
    "name, task, objective, search, require, fixed, baselines, start, sampler, stop, prior, race, confirm, budget, "
    "keep, resources, precision, notify, results, storage, trackers"
)
HYPERPARAMETERS = (
    "depth, width, heads, feedforward, learning_rate, betas, epsilon, weight_decay, warmup_steps, coupling, "
    "coupling_batch, hold_decay, batch.shape, batch.min, batch.max, batch.direction, batch.clock, batch.period, "
    "batch.every, batch.power, batch.curvature, batch.cycles, batch.doubling_steps, batch.increment, batch.stages, "
    "batch.noise_fraction, batch.noise_memory"
)
SHAPES = (
    "constant, linear, polynomial, geometric, logarithmic, cosine, cyclic, step, doubling, sample_ramp, noise_scale"
)
OPERATIONS = (
    "x_plus_y, x_minus_y, x_div_y, x_times_y, x2_plus_y2, x2_plus_xy_plus_y2, x2_plus_xy_plus_y2_plus_x, x3_plus_xy, "
    "x3_plus_xy2_plus_y, permutation, permutation_conjugation, permutation_xyx"
)
TASKS = "modular_arithmetic, m_height, or your own as package.module:Class"
METRICS = (
    "val_accuracy, train_accuracy, val_loss, train_loss, gradient_norm, weight_norm, last_layer_norm, "
    "weight_norm_embedding, weight_norm_head, saturated"
)
YES_NO = "YAML reads yes, no, on and off as true and false: put quotes around the word"
LANGUAGE = "only comparisons, + - * / // %, and, or, not, in [..]"
EMPTY = "space.yaml:1: the file is empty; `sweeper init` writes a space.yaml to start from"
NOT_A_MAPPING = (
    "space.yaml:1: got a list or a single value; a space.yaml is a mapping with keys such as name, task and search"
)
TOO_BIG = "more than 50,000 values or 30 levels; a space.yaml is smaller than that"
PASSWORD = (
    "got a URL with a password, and the space.yaml is kept with the results; leave the password out: PostgreSQL reads "
    "it from PGPASSWORD or ~/.pgpass"
)
NEVER = "no configuration meets every requirement; loosen one, or widen a range"


def space(*lines: str) -> str:
    """The sound file with some lines instead of, or after, its own."""
    sections = {line.split(":")[0]: line for line in lines}
    extra = [line for line in lines if line.split(":")[0] not in SOUND]
    return "\n".join([*(sections.get(key, line) for key, line in SOUND.items()), *extra]) + "\n"


MISTAKES: dict[str, tuple[str, str]] = {
    # ---- names
    "section_typo": (
        space("smapler: {name: tpe}"),
        f"space.yaml:6: smapler: unknown key (did you mean 'sampler'?); allowed here: {SECTIONS}",
    ),
    "needed_section_typo": (
        space().replace("task:", "taks:"),
        "space.yaml:1: task: missing; this key is required\n"
        f"space.yaml:2: taks: unknown key (did you mean 'task'?); allowed here: {SECTIONS}",
    ),
    "key_typo": (
        space("budget: {trails: 4}"),
        "space.yaml:5: budget.trails: unknown key (did you mean 'trials'?); allowed here: trials, hours",
    ),
    "task_key_typo": (
        space("task: {name: modular_arithmetic, operaton: x_plus_y}"),
        "space.yaml:2: task.operation: missing; this key is required\n"
        "space.yaml:2: task.operaton: unknown key (did you mean 'operation'?); "
        "allowed here: name, operation, modulus, degree, train_fraction, evaluation",
    ),
    "searched_hyperparameter_typo": (
        space("search: {weight_decy: {float: [0.1, 1.0]}}"),
        "space.yaml:4: search.weight_decy: unknown hyperparameter (did you mean 'weight_decay'?); "
        f"allowed: {HYPERPARAMETERS}",
    ),
    "fixed_hyperparameter_typo": (
        space("fixed: {learnig_rate: 0.1}"),
        "space.yaml:6: fixed.learnig_rate: unknown hyperparameter (did you mean 'learning_rate'?); "
        f"allowed: {HYPERPARAMETERS}",
    ),
    "baseline_hyperparameter_typo": (
        space("baselines: {b: {dept: 1}}"),
        f"space.yaml:6: baselines.b.dept: unknown hyperparameter (did you mean 'depth'?); allowed: {HYPERPARAMETERS}",
    ),
    "parameter_key_typo": (
        space("search: {depth: {int: [1, 2], lgo: true}}"),
        "space.yaml:4: search.depth.lgo: unknown key (did you mean 'log'?); allowed here: when, log, int, step",
    ),
    "parameter_kind_typo": (
        space("search: {depth: {itn: [1, 2]}}"),
        "space.yaml:4: search.depth: got {'itn': [1, 2]}; "
        "write {choice: [..]}, {int: [low, high]} or {float: [low, high]}",
    ),
    "batch_settings_nested": (
        space("fixed: {batch: {max: 128}}"),
        "space.yaml:6: fixed.batch: write the settings of the batch schedule with dots, as in batch.shape",
    ),
    "baseline_name": (
        space("baselines: {'my baseline!': {depth: 2}}"),
        "space.yaml:6: baselines.my baseline!: got 'my baseline!'; "
        "use letters, digits, dots, dashes and underscores, at most 100, a letter or digit first",
    ),
    "name_that_leaves_the_folder": (
        space("name: ../up"),
        "space.yaml:1: name: got '../up'; "
        "use letters, digits, dots, dashes and underscores, at most 100, a letter or digit first",
    ),
    # ---- ranges and choices
    "int_min_above_max": (
        space("search: {depth: {int: [4, 1]}}"),
        "space.yaml:4: search.depth: got [4, 1]; write the smaller bound first",
    ),
    "float_min_above_max": (
        space("search: {weight_decay: {float: [1.0, 0.1]}}"),
        "space.yaml:4: search.weight_decay: got [1.0, 0.1]; write the smaller bound first",
    ),
    "batch_min_above_max": (
        space("fixed: {batch.shape: linear, batch.min: 256, batch.max: 128}"),
        "space.yaml:6: fixed.batch.min: 256 is larger than batch.max (128)",
    ),
    "log_of_zero": (
        space("search: {weight_decay: {float: [0.0, 0.1], log: true}}"),
        "space.yaml:4: search.weight_decay: got [0.0, 0.1] with log: true; the logarithm needs bounds above 0",
    ),
    "log_and_step": (
        space("search: {weight_decay: {float: [0.1, 0.2], log: true, step: 0.1}}"),
        "space.yaml:4: search.weight_decay: got both log and step; choose one",
    ),
    "step_wider_than_range": (
        space("search: {depth: {int: [1, 2], step: 5}}"),
        "space.yaml:4: search.depth: got step 5, wider than the range [1, 2]",
    ),
    "one_bound": (
        space("search: {depth: {int: [3]}}"),
        "space.yaml:4: search.depth.int[1]: missing; this item is required",
    ),
    "three_bounds": (
        space("search: {depth: {int: [1, 2, 3]}}"),
        "space.yaml:4: search.depth.int: got [1, 2, 3]; it must be a list of 2",
    ),
    "bounds_outside_what_the_key_allows": (
        space("search: {depth: {int: [0, 100]}}"),
        "space.yaml:4: search.depth.int[0]: got 0; it must be at least 1\n"
        "space.yaml:4: search.depth.int[1]: got 100; it must be at most 64",
    ),
    "float_range_for_a_whole_number": (
        space("search: {depth: {float: [1.0, 2.0]}}"),
        "space.yaml:4: search.depth.float[0]: got 1.0; it must be a whole number\n"
        "space.yaml:4: search.depth.float[1]: got 2.0; it must be a whole number",
    ),
    "no_choices": (
        space("search: {heads: {choice: []}}"),
        "space.yaml:4: search.heads.choice: got []; it must be a list of at least 1",
    ),
    "choice_twice": (
        space("search: {heads: {choice: [2, 2]}}"),
        "space.yaml:4: search.heads: got [2, 2]; list each value once",
    ),
    "unknown_word_in_choice": (
        space("search: {batch.shape: {choice: [constant, linaer]}}"),
        f"space.yaml:4: search.batch.shape.choice[1]: got 'linaer' (did you mean 'linear'?); allowed: {SHAPES}",
    ),
    "heads_that_do_not_divide_the_width": (
        space("search: {heads: {choice: [2, 3, 4]}}"),
        "space.yaml:4: search.heads.choice[1]: got 3; "
        "3 heads do not divide width 128; the nearest that do: [1, 2, 4, 8]",
    ),
    "no_heads_divide_the_width": (
        space("search: {heads: {choice: [3, 5]}}"),
        "space.yaml:4: search.heads.choice[0]: got 3; "
        "3 heads do not divide width 128; the nearest that do: [1, 2, 4, 8]\n"
        "space.yaml:4: search.heads.choice[1]: got 5; "
        "5 heads do not divide width 128; the nearest that do: [1, 2, 4, 8]",
    ),
    "fixed_heads_that_do_not_divide_the_width": (
        space("search: {depth: {int: [1, 2]}}", "fixed: {heads: 5, width: 64}"),
        "space.yaml:6: fixed.heads: 5 heads do not divide width 64; the nearest that do: [1, 2, 4, 8]",
    ),
    "schedule_without_a_smallest_batch": (
        space("search: {batch.shape: {choice: [constant, linear]}}"),
        "space.yaml:4: search.batch.min: missing: a linear schedule moves between batch.min and batch.max",
    ),
    "stage_without_a_size": (
        space("fixed: {batch.shape: step, batch.stages: [[0, 8], [5]]}"),
        "space.yaml:6: fixed.batch.stages[1][1]: missing; this item is required",
    ),
    "key_in_search_and_fixed": (
        space("fixed: {depth: 2}"),
        "space.yaml:6: fixed.depth: is also under search; remove one of the two",
    ),
    "nothing_to_run": (
        space("search: {}"),
        "space.yaml:4: search: nothing to run; give parameters under search, configurations under baselines, or both",
    ),
    # ---- types
    "text_for_a_whole_number": (
        space("objective: {horizon: many}"),
        "space.yaml:3: objective.horizon: got the text 'many'; it must be a whole number",
    ),
    "fraction_for_a_whole_number": (
        space("objective: {horizon: 100.5}"),
        "space.yaml:3: objective.horizon: got 100.5; it must be a whole number",
    ),
    "list_for_a_section": (
        space("objective: [1, 2]"),
        "space.yaml:3: objective: got the list [1, 2]; it must be keys with values",
    ),
    "nothing_for_a_section": (
        space("objective:"),
        "space.yaml:3: objective: got nothing; it must be keys with values",
    ),
    "keys_for_text": (space("name: {a: 1}"), "space.yaml:1: name: got keys with values; it must be text"),
    "number_for_a_list": (
        space("search: {depth: {int: 3}}"),
        "space.yaml:4: search.depth.int: got 3; it must be a list",
    ),
    "value_for_a_parameter": (
        space("search: {depth: 2}"),
        "space.yaml:4: search.depth: got 2; write {choice: [..]}, {int: [low, high]} or {float: [low, high]}",
    ),
    "short_list_for_betas": (
        space("fixed: {betas: [0.9]}"),
        "space.yaml:6: fixed.betas[1]: missing; this item is required",
    ),
    "wrong_type_in_a_baseline": (
        space("baselines: {b: {depth: two}}"),
        "space.yaml:6: baselines.b.depth: got the text 'two'; it must be a whole number",
    ),
    # ---- what YAML does behind the user's back
    "exponent_for_a_number": (
        space("fixed: {learning_rate: 1e-3}"),
        "space.yaml:6: fixed.learning_rate: got the text '1e-3'; it must be a number. "
        "YAML reads 1e-3 as text: write 1.0e-3",
    ),
    "exponents_for_bounds": (
        space("search: {learning_rate: {float: [1e-3, 1e-1]}}"),
        "space.yaml:4: search.learning_rate.float[0]: got the text '1e-3'; it must be a number. "
        "YAML reads 1e-3 as text: write 1.0e-3\n"
        "space.yaml:4: search.learning_rate.float[1]: got the text '1e-1'; it must be a number. "
        "YAML reads 1e-1 as text: write 1.0e-1",
    ),
    "exponent_for_a_whole_number": (
        space("objective: {horizon: 1e4}"),
        "space.yaml:3: objective.horizon: got the text '1e4'; it must be a whole number. "
        "YAML reads 1e4 as text: write 10000",
    ),
    "fractional_exponent_for_a_whole_number": (
        space("objective: {horizon: 1e-3}"),
        "space.yaml:3: objective.horizon: got the text '1e-3'; it must be a whole number. "
        "YAML reads 1e-3 as text; as a number it is 0.001",
    ),
    "on_as_key": (
        space("on: 3"),
        "space.yaml:6: got the key on; keys are words; YAML reads it as true, so quote it",
    ),
    "yes_as_hyperparameter": (
        space("fixed: {yes: 3}"),
        "space.yaml:6: fixed: got the key yes; keys are words; YAML reads it as true, so quote it",
    ),
    "number_as_key": (space("fixed: {3: 3}"), "space.yaml:6: fixed: got the key 3; keys are words"),
    "off_as_value": (space("stop: off"), f"space.yaml:6: stop: got false; allowed: thaw, cap, asha, none. {YES_NO}"),
    "no_as_value": (
        space("fixed: {coupling: no}"),
        f"space.yaml:6: fixed.coupling: got false; allowed: none, linear, sqrt. {YES_NO}",
    ),
    "yes_as_name": (space("name: yes"), f"space.yaml:1: name: got true; it must be text. {YES_NO}"),
    "date_as_name": (
        space("name: 2024-01-01"),
        "space.yaml:1: name: got 2024-01-01; it must be text. YAML reads it as a date: put quotes around it",
    ),
    "impossible_date": (space("name: 2024-13-99"), "space.yaml:1: name: got '2024-13-99'; month must be in 1..12"),
    "octal": (
        space("objective: {horizon: 0100}"),
        "space.yaml:3: objective.horizon: got 0100; YAML reads it as 64 (octal): write it without leading zeros",
    ),
    "base_60": (
        space("objective: {horizon: 1:30}"),
        "space.yaml:3: objective.horizon: got 1:30; YAML reads it as 90 (base 60): write the number out",
    ),
    "duplicate_key": (
        space("budget: {trials: 4, trials: 5}"),
        "space.yaml:5: budget.trials: given twice, first on line 5; keep one",
    ),
    "duplicate_section": (space() + "name: y\n", "space.yaml:6: name: given twice, first on line 1; keep one"),
    "merge_key": (
        space("fixed: {<<: {width: 64}}"),
        "space.yaml:6: fixed: got the key <<; merging is not supported; write the keys out",
    ),
    "not_a_number": (
        space("fixed: {learning_rate: .nan}"),
        "space.yaml:6: fixed.learning_rate: got nan; it must be a finite number",
    ),
    "infinite_bound": (
        space("search: {weight_decay: {float: [0.1, .inf]}}"),
        "space.yaml:4: search.weight_decay.float[1]: got inf; it must be a finite number",
    ),
    "infinite_budget": (
        space("budget: {hours: .inf}"),
        "space.yaml:5: budget.hours: got inf; it must be a finite number",
    ),
    # ---- files that are not a space at all
    "tab": (
        space("fixed:\n\twidth: 64"),
        "space.yaml:7: not YAML: found character '\\t' that cannot start any token; indent with spaces, not tabs",
    ),
    "unclosed_bracket_at_the_end": (
        space("require: [width % heads == 0"),
        "space.yaml:7: not YAML: expected ',' or ']', but got '<stream end>'; the list begins on line 6",
    ),
    "unclosed_brace_in_the_middle": (
        space("fixed: {width: 64", "results: results"),
        "space.yaml:7: not YAML: expected ',' or '}', but got ':'; the mapping begins on line 6",
    ),
    "empty": ("", EMPTY),
    "only_comments": ("# nothing\n\n# yet\n", EMPTY),
    "list_at_the_top": ("- name: x\n- task: y\n", NOT_A_MAPPING),
    "word_at_the_top": ("hello\n", NOT_A_MAPPING),
    "two_documents": (
        space() + "---\n" + space(),
        "space.yaml:7: got several YAML documents; a space.yaml is one, without `---` between",
    ),
    "missing_sections": (
        "name: x\n",
        "space.yaml:1: budget: missing; this key is required\n"
        "space.yaml:1: objective: missing; this key is required\n"
        "space.yaml:1: task: missing; this key is required",
    ),
    "missing_keys": (
        space("task: {}"),
        "space.yaml:2: task.name: missing; this key is required\n"
        "space.yaml:2: task.operation: missing; this key is required",
    ),
    "undefined_alias": (space("fixed: *nothing"), "space.yaml:6: not YAML: found undefined alias 'nothing'"),
    "alias_of_itself": (space("fixed: &a {b: *a}"), f"space.yaml:6: {TOO_BIG}"),
    "alias_bomb": (
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in ("ab", "bc", "cd", "de")),
        f"space.yaml:1: {TOO_BIG}",
    ),
    "forty_levels": (space("fixed: " + "[" * 40 + "]" * 40), f"space.yaml:6: {TOO_BIG}"),
    "more_levels_than_the_parser_has": (space("fixed: " + "[" * 600 + "]" * 600), f"space.yaml:1: {TOO_BIG}"),
    "python_object": (
        space("fixed: !!python/object/apply:os.system ['touch pwned']"),
        "space.yaml:6: fixed: got the tag !!python/object/apply:os.system; a space.yaml has plain values only",
    ),
    "python_object_with_legal_keys": (
        space("fixed: !!python/object/new:os.system {width: 64}"),
        "space.yaml:6: fixed: got the tag !!python/object/new:os.system; a space.yaml has plain values only",
    ),
    "python_name": (
        space("name: !!python/name:os.system x"),
        "space.yaml:1: name: got the tag !!python/name:os.system; a space.yaml has plain values only",
    ),
    # ---- task and objective
    "unknown_task": (
        space("task: {name: sudoku, operation: x_plus_y}"),
        f"space.yaml:2: task.name: got 'sudoku'; allowed: {TASKS}",
    ),
    "unknown_operation": (
        space("task: {name: modular_arithmetic, operation: [x_plus_y, x_over_y]}"),
        f"space.yaml:2: task.operation[1]: got 'x_over_y' (did you mean 'x_div_y'?); allowed: {OPERATIONS}",
    ),
    "no_operation": (
        space("task: {name: modular_arithmetic, operation: []}"),
        "space.yaml:2: task.operation: got []; list at least one operation",
    ),
    "division_modulo_a_composite": (
        space("task: {name: modular_arithmetic, operation: x_div_y, modulus: 96}"),
        "space.yaml:2: task.modulus: got 96; x_div_y needs a prime modulus, such as 97 or 101",
    ),
    "train_fraction_above_one": (
        space("task: {name: modular_arithmetic, operation: x_plus_y, train_fraction: 1.5}"),
        "space.yaml:2: task.train_fraction: got 1.5; it must be less than 1.0",
    ),
    "train_fraction_that_leaves_nothing": (
        space("task: {name: modular_arithmetic, operation: x_plus_y, modulus: 2, train_fraction: 0.1}"),
        "space.yaml:2: task.train_fraction: got 0.1; with 4 pairs, one side is empty",
    ),
    "unknown_metric": (
        space("objective: {until: val_acuracy > 0.99, horizon: 100}"),
        "space.yaml:3: objective.until: unknown metric 'val_acuracy' (did you mean 'val_accuracy'?); "
        f"logged: {METRICS}",
    ),
    "unknown_metric_beside_an_unknown_operation": (
        space(
            "task: {name: modular_arithmetic, operation: x_plus_z}",
            "objective: {until: val_acuracy > 0.9, horizon: 100}",
        ),
        "space.yaml:2: task.operation[0]: got 'x_plus_z' (did you mean 'x_plus_y'?); "
        f"allowed: {OPERATIONS}\n"
        "space.yaml:3: objective.until: unknown metric 'val_acuracy' (did you mean 'val_accuracy'?); "
        f"logged: {METRICS}",
    ),
    "event_without_a_form": (
        space("objective: {until: val_accuracy >= 0.99, horizon: 100}"),
        "space.yaml:3: objective.until: got 'val_accuracy >= 0.99'; "
        "write a metric, > or <, and a number, as in 'val_accuracy > 0.99'",
    ),
    "number_for_an_event": (
        space("objective: {until: 0.99, horizon: 100}"),
        "space.yaml:3: objective.until: got 0.99; it must be text",
    ),
    "horizon_below_evaluate_every": (
        space("objective: {horizon: 5, evaluate_every: 10}"),
        "space.yaml:3: objective: evaluate_every (10) is past the horizon (5)",
    ),
    "unknown_clock": (
        space("objective: {horizon: 100, minimize: step}"),
        "space.yaml:3: objective.minimize: got 'step' (did you mean 'steps'?); allowed: steps, examples, seconds",
    ),
    "seconds_without_an_end": (
        space("objective: {horizon: 100, minimize: seconds}"),
        "space.yaml:3: objective: to minimize seconds, give horizon_seconds, the time after which a run is censored",
    ),
    "negative_tail": (
        space("objective: {horizon: 100, tail: -1}"),
        "space.yaml:3: objective.tail: got -1; it must be at least 0",
    ),
    "tail_beyond_the_longest_horizon": (
        space("objective: {horizon: 100, tail: 10000001}"),
        "space.yaml:3: objective.tail: got 10000001; it must be at most 10000000",
    ),
    "fraction_for_a_tail": (
        space("objective: {horizon: 100, tail: 0.5}"),
        "space.yaml:3: objective.tail: got 0.5; it must be a whole number",
    ),
    "exponent_for_a_tail": (
        space("objective: {horizon: 100, tail: 1e3}"),
        "space.yaml:3: objective.tail: got the text '1e3'; it must be a whole number. "
        "YAML reads 1e3 as text: write 1000",
    ),
    "prior_without_thaw": (
        space("prior: earlier"),
        "space.yaml:6: prior: stop is cap; only stop: thaw learns from curves",
    ),
    "tail_typo": (
        space("objective: {horizon: 100, tial: 10}"),
        "space.yaml:3: objective.tial: unknown key (did you mean 'tail'?); allowed here: "
        "minimize, until, sustained, horizon, horizon_seconds, evaluate_every, screen, tail, replicates",
    ),
    # ---- conditions and requirements
    "unknown_word_in_when": (
        space(
            "search: {batch.shape: {choice: [constant, linear]}, "
            "batch.min: {int: [8, 16], when: batch.shape != constnat}}"
        ),
        "space.yaml:4: search.batch.min.when: unknown name 'constnat' in 'batch.shape != constnat' "
        f"(did you mean 'constant'?); values: {SHAPES}",
    ),
    "unknown_hyperparameter_in_when": (
        space(
            "search: {batch.shape: {choice: [constant, linear]}, "
            "batch.min: {int: [8, 16], when: batch.shap != constant}}"
        ),
        "space.yaml:4: search.batch.min.when: unknown name 'batch.shap' in 'batch.shap != constant' "
        "(did you mean 'batch.shape'?)",
    ),
    "when_without_a_hyperparameter": (
        space("search: {depth: {int: [1, 2], when: 3 == 3}}"),
        "space.yaml:4: search.depth.when: got '3 == 3', which mentions no hyperparameter",
    ),
    "when_of_itself": (
        space("search: {depth: {int: [1, 2], when: depth == 1}}"),
        "space.yaml:4: search.depth.when: got 'depth == 1'; a parameter cannot depend on itself",
    ),
    "circle_of_when": (
        space("search: {depth: {int: [1, 2], when: heads == 2}, heads: {choice: [2, 4], when: depth == 1}}"),
        "space.yaml:4: search: the conditions of depth, heads form a cycle",
    ),
    "when_compares_text_with_a_number": (
        space("search: {batch.shape: {choice: [constant]}, depth: {int: [1, 2], when: batch.shape > 3}}"),
        "space.yaml:4: search.depth.when: got 'batch.shape > 3', which compares text with a number",
    ),
    "require_compares_text_with_a_number": (
        space("require: [batch.shape > 3]"),
        "space.yaml:6: require[0]: got 'batch.shape > 3', which compares text with a number",
    ),
    "require_compares_with_a_list": (
        space("require: ['depth == [1, 2, 3]']"),
        "space.yaml:6: require[0]: got 'depth == [1, 2, 3]'; a list is only allowed after `in`",
    ),
    "require_mentions_a_hyperparameter_that_is_a_list": (
        space("require: ['heads != batch.stages']"),
        "space.yaml:6: require[0]: got 'heads != batch.stages'; batch.stages is a list, and conditions cannot compare "
        "lists",
    ),
    "require_is_code": (
        space("require: [__import__('os').system('touch pwned')]"),
        f"space.yaml:6: require[0]: got \"__import__('os').system('touch pwned')\"; Call is not allowed, {LANGUAGE}",
    ),
    "require_is_code_behind_a_name": (
        space("require: [depth.__class__ == 3]"),
        "space.yaml:6: require[0]: got 'depth.__class__ == 3', which mentions no hyperparameter",
    ),
    "require_is_not_a_comparison": (
        space("require: depth"),
        "space.yaml:6: require[0]: got 'depth', which is not a comparison; write one such as 'batch.min <= batch.max'",
    ),
    "require_is_half_a_comparison": (
        space("require: [depth ==]"),
        "space.yaml:6: require[0]: got 'depth ==', which is not a condition (invalid syntax)",
    ),
    "require_is_keys": (
        space("require: {depth: 2}"),
        "space.yaml:6: require: got keys with values; it must be a list",
    ),
    "requirement_that_no_search_can_meet": (space("require: [depth > 2]"), f"space.yaml:6: require: {NEVER}"),
    "requirement_that_fixed_values_cannot_meet": (
        space("require: [width > 1000]", "fixed: {width: 64}"),
        f"space.yaml:6: require: {NEVER}",
    ),
    "baseline_violates_a_requirement": (
        space("require: [depth <= 1]", "baselines: {b: {depth: 2}}"),
        "space.yaml:7: baselines.b: does not meet 'depth <= 1'",
    ),
    "baseline_with_heads_that_do_not_divide_the_width": (
        space("baselines: {b: {heads: 3}}"),
        "space.yaml:6: baselines.b.heads: 3 heads do not divide width 128; the nearest that do: [1, 2, 4, 8]",
    ),
    # ---- how to run
    "password_in_a_url": (
        space("storage: postgresql://me:hunter2@host:5432/database"),
        f"space.yaml:6: storage: {PASSWORD}",
    ),
    "password_with_every_sign_in_a_url": (
        space("storage: 'postgresql+psycopg://me:/?#[ :2@host/database'"),
        f"space.yaml:6: storage: {PASSWORD}",
    ),
    "password_among_the_options_of_a_url": (
        space("storage: postgresql://me@host/database?connect_timeout=3&PassWord=hunter2"),
        f"space.yaml:6: storage: {PASSWORD}",
    ),
    "storage_in_a_file": (
        space("storage: results/trials.db"),
        "space.yaml:6: storage: not the URL of a database; write one such as postgresql://user@host:5432/database or "
        "sqlite:///trials.db, or remove the key",
    ),
    "storage_by_number": (space("storage: 5432"), "space.yaml:6: storage: got 5432; it must be text"),
    "gpu_one_and_a_half": (
        space("resources: {gpu: 1.5}"),
        "space.yaml:6: resources.gpu: got 1.5; above 1 only whole numbers of GPUs are possible",
    ),
    "gpu_below_nothing": (
        space("resources: {gpu: -1}"),
        "space.yaml:6: resources.gpu: got -1; it must be at least 0.0",
    ),
    "gpu_misspelt_auto": (
        space("resources: {gpu: Auto}"),
        "space.yaml:6: resources.gpu: got the text 'Auto'; it must be a number or auto",
    ),
    "gpu_with_an_exponent_that_yaml_reads_as_text": (
        space("resources: {gpu: 1e-1}"),
        "space.yaml:6: resources.gpu: got the text '1e-1'; it must be a number or auto. "
        "YAML reads 1e-1 as text: write 1.0e-1",
    ),
    "gpu_on": (
        space("resources: {gpu: on}"),
        "space.yaml:6: resources.gpu: got true; it must be a number or auto. "
        "YAML reads yes, no, on and off as true and false: put quotes around the word",
    ),
    "no_cpu": (space("resources: {cpu: 0}"), "space.yaml:6: resources.cpu: got 0; it must be at least 0.01"),
    "credentials_in_results": (
        space("results: s3://key:secret@bucket/results"),
        "space.yaml:6: results: got options or credentials in a URI; give s3://bucket/prefix alone: "
        "credentials, region and endpoint come from the environment",
    ),
    "results_in_another_scheme": (
        space("results: http://bucket/results"),
        "space.yaml:6: results: got 'http://bucket/results'; give a folder, or a URI that begins with s3:// or gs://",
    ),
    "unknown_stop": (space("stop: hyperband"), "space.yaml:6: stop: got 'hyperband'; allowed: thaw, cap, asha, none"),
    "unknown_tracker": (
        space("trackers: tensorbord"),
        "space.yaml:6: trackers[0]: got 'tensorbord' (did you mean 'tensorboard'?); allowed: tensorboard, mlflow, "
        "wandb",
    ),
    "tracker_twice": (
        space("trackers: [mlflow, mlflow]"),
        "space.yaml:6: trackers: got ['mlflow', 'mlflow']; list each once",
    ),
    "race_key_typo": (
        space("race: {fist: 1}"),
        "space.yaml:6: race.fist: unknown key (did you mean 'first'?); allowed here: first, slack",
    ),
    "race_from_nothing": (space("race: {first: 0}"), "space.yaml:6: race.first: got 0; it must be at least 1"),
    "race_from_every_replicate": (
        space("race: {first: 3}"),
        "space.yaml:6: race.first: got 3; it must be less than objective.replicates (3)",
    ),
    "race_from_more_than_every_replicate": (
        space("race: {first: 4, slack: 0}"),
        "space.yaml:6: race.first: got 4; it must be less than objective.replicates (3)",
    ),
    "race_of_one_replicate": (
        space("objective: {horizon: 100, replicates: 1}", "race: {slack: 0.1}"),
        "space.yaml:6: race.first: got 1; it must be less than objective.replicates (1)",
    ),
    "negative_slack": (
        space("race: {slack: -0.1}"),
        "space.yaml:6: race.slack: got -0.1; it must be at least 0.0",
    ),
    "slack_of_everything": (space("race: {slack: 11}"), "space.yaml:6: race.slack: got 11; it must be at most 10.0"),
    "race_without_stops": (
        space("stop: none", "race: {first: 1}"),
        "space.yaml:7: race: stop is none; a race needs stop: cap",
    ),
    "race_beside_asha": (
        space("race: {first: 1}", "stop: asha"),
        "space.yaml:6: race: stop is asha; a race needs stop: cap",
    ),
    "race_as_word": (space("race: true"), f"space.yaml:6: race: got true; it must be keys with values. {YES_NO}"),
    "race_with_two_mistakes": (
        space("race: {first: 3}", "stop: asha"),
        "space.yaml:6: race: stop is asha; a race needs stop: cap\n"
        "space.yaml:6: race.first: got 3; it must be less than objective.replicates (3)",
    ),
    "unknown_sampler": (
        space("sampler: {name: bayes}"),
        "space.yaml:6: sampler.name: got 'bayes'; allowed: gp, tpe, random, grid",
    ),
    "grid_over_a_continuous_space": (
        space("search: {weight_decay: {float: [0.1, 1.0]}}", "sampler: {name: grid}"),
        "space.yaml:6: sampler.name: grid needs a space of at most 100,000 configurations; give every float a step",
    ),
    "no_limit": (space("budget: {}"), "space.yaml:5: budget: give trials, hours or both"),
    "unknown_precision": (
        space("precision: float16"),
        "space.yaml:6: precision: got 'float16' (did you mean 'bfloat16'?); allowed: float32, tf32, bfloat16",
    ),
    "number_for_a_precision": (
        space("precision: 32"),
        "space.yaml:6: precision: got 32; allowed: float32, tf32, bfloat16",
    ),
    "nothing_for_a_precision": (
        space("precision:"),
        "space.yaml:6: precision: got nothing; allowed: float32, tf32, bfloat16",
    ),
    "precision_in_a_section": (
        space("resources: {precision: tf32}"),
        "space.yaml:6: resources.precision: unknown key; allowed here: cpu, gpu, engine",
    ),
    "two_mistakes_in_a_section": (
        space("confirm: {top: 0, replicates: ten}"),
        "space.yaml:6: confirm.replicates: got the text 'ten'; it must be a whole number\n"
        "space.yaml:6: confirm.top: got 0; it must be at least 1",
    ),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in, and consoles that no earlier test has written to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(terminal, "out", Console())
    monkeypatch.setattr(terminal, "err", Console(stderr=True))
    return tmp_path


def answer(capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `sweeper check space.yaml` in the current folder."""
    capsys.readouterr()
    code = cli.run(["check", "space.yaml"])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_file_that_the_mistakes_are_made_in_is_sound(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "space.yaml").write_text(space())
    code, _, said = answer(capsys)
    assert (code, said) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize(("text", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_named_where_it_stands(
    text: str, expected: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "space.yaml").write_text(text)
    code, shown, said = answer(capsys)
    assert said == expected + "\n"
    assert (code, shown) == (2, "")
    assert [each.name for each in folder.iterdir()] == ["space.yaml"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (bytes(range(256)), "not a text file (byte 128 is not UTF-8); give a YAML file"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not a text file (byte 0 is not UTF-8); give a YAML file"),
        (b"\xff\xfe" + space().encode("utf-16-le"), "not a text file (byte 0 is not UTF-8); give a YAML file"),
        ("name: caf\xe9\n".encode("latin-1"), "not a text file (byte 9 is not UTF-8); give a YAML file"),
        (b"#" * 200_001, "got 200,001 bytes; a space.yaml has at most 200,000"),
    ],
    ids=["binary", "picture", "utf_16", "latin_1", "huge"],
)
def test_a_file_that_is_not_text_is_said_to_be_none(
    content: bytes, expected: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "space.yaml").write_bytes(content)
    assert answer(capsys) == (2, "", f"space.yaml:1: {expected}\n")
    assert [each.name for each in folder.iterdir()] == ["space.yaml"]


def test_a_missing_file_is_said_to_be_missing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = "space.yaml: cannot be read (No such file or directory); `sweeper init` writes a space.yaml to start from"
    assert answer(capsys) == (2, "", f"{message}\n")
    assert list(folder.iterdir()) == []


def test_a_folder_is_said_to_be_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "space.yaml").mkdir()
    message = "space.yaml: cannot be read (Is a directory); `sweeper init` writes a space.yaml to start from"
    assert answer(capsys) == (2, "", f"{message}\n")
    assert list((folder / "space.yaml").iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        space("search: {warmup_steps: {int: [0, 99999999999999999999999999]}}"),
        space("objective: {horizon: 1000000000000}"),
        space("resources: {cpu: 1.0e-320}"),
        space("resources: {gpu: 1.0e-320}"),
        space("require: ['depth * 99999999999999999999999 > 3']"),
        space(
            "search: {batch.shape: {choice: [constant, linear]}, batch.min: {int: [1, 3]}}",
            "require: [\"batch.shape != 'a' * 999999999999999999\"]",
        ),
        space('"\\ud800": 3'),
        space('results: "\\ud800"'),
        space('results: "a\\0b"'),
    ],
    ids=[
        "range_beyond_64_bits",
        "horizon_beyond_memory",
        "cpu_next_to_nothing",
        "gpu_next_to_nothing",
        "factor_beyond_64_bits",
        "text_repeated_beyond_memory",
        "half_a_character_as_key",
        "half_a_character_as_folder",
        "nul_in_a_folder",
    ],
)
def test_values_beyond_sense_are_mistakes_of_the_file_and_not_bugs(
    text: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "space.yaml").write_text(text)
    code, shown, said = answer(capsys)
    assert (code, shown, said[: len("space.yaml:")]) == (2, "", "space.yaml:"), said
    assert [each.name for each in folder.iterdir()] == ["space.yaml"]


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "space.yaml").write_text(
        "nmae: x\n"
        "task: {name: modular_arithmetic, operation: x_div_y, modulus: 96}\n"
        "objective: {horizon: 100, until: val_loss = 0.1, replicates: 0}\n"
        "search:\n"
        "  depht: {int: [1, 2]}\n"
        "  heads: {choice: [2, four], when: width == huge}\n"
        "  batch.max: {int: [256, 64]}\n"
        "  batch.shape: {choice: [constant, on]}\n"
        "require: [depth, heads ==]\n"
        "fixed: {learning_rate: 1e-3, heads: 2}\n"
        "baselines:\n"
        "  small: {dept: 1}\n"
        "  large: {width: .inf}\n"
        "budget: {trails: 3}\n"
        "resources: {cpu: 1, cpu: 2, gpu: 1.5}\n"
        "stop: off\n"
        "yes: 3\n"
    )
    expected = [
        "1: name: missing; this key is required",
        f"1: nmae: unknown key (did you mean 'name'?); allowed here: {SECTIONS}",
        "2: task.modulus: got 96; x_div_y needs a prime modulus, such as 97 or 101",
        "3: objective.replicates: got 0; it must be at least 1",
        "3: objective.until: got 'val_loss = 0.1'; write a metric, > or <, and a number, as in 'val_accuracy > 0.99'",
        f"5: search.depht: unknown hyperparameter (did you mean 'depth'?); allowed: {HYPERPARAMETERS}",
        "6: search.heads.choice[1]: got the text 'four'; it must be a whole number",
        "6: search.heads.when: unknown name 'huge' in 'width == huge'",
        "7: search.batch.max: got [256, 64]; write the smaller bound first",
        f"8: search.batch.shape.choice[1]: got true; allowed: {SHAPES}. {YES_NO}",
        "9: require[0]: got 'depth', which is not a comparison; write one such as 'batch.min <= batch.max'",
        "9: require[1]: got 'heads ==', which is not a condition (invalid syntax)",
        "10: fixed.heads: is also under search; remove one of the two",
        "10: fixed.learning_rate: got the text '1e-3'; it must be a number. YAML reads 1e-3 as text: write 1.0e-3",
        f"12: baselines.small.dept: unknown hyperparameter (did you mean 'depth'?); allowed: {HYPERPARAMETERS}",
        "13: baselines.large.width: got inf; it must be a whole number",
        "14: budget.trails: unknown key (did you mean 'trials'?); allowed here: trials, hours",
        "15: resources.cpu: given twice, first on line 15; keep one",
        "15: resources.gpu: got 1.5; above 1 only whole numbers of GPUs are possible",
        f"16: stop: got false; allowed: thaw, cap, asha, none. {YES_NO}",
        "17: got the key yes; keys are words; YAML reads it as true, so quote it",
    ]
    code, shown, said = answer(capsys)
    assert said.splitlines() == [f"space.yaml:{line}" for line in expected]
    assert (code, shown) == (2, "")
    assert [each.name for each in folder.iterdir()] == ["space.yaml"]


@pytest.mark.slow
def test_a_process_ends_with_exit_code_2_and_no_traceback(tmp_path: Path) -> None:
    text, expected = MISTAKES["exponent_for_a_number"]
    (tmp_path / "space.yaml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "sweeper", "check", "space.yaml"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(sweeper.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{expected}\n")
    assert [each.name for each in tmp_path.iterdir()] == ["space.yaml"]
