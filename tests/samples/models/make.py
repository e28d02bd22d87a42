"""Makes the models beside it, of made-up data, and what the engines that trained them answer.

python -m pip install lightgbm==4.7.0 xgboost==3.2.0 numpy scipy && python tests/samples/models/make.py

With XGBoost 2.1.4 installed instead, it adds the model that this version saves.
"""

import json
from pathlib import Path

import lightgbm
import numpy
import xgboost

FOLDER = Path(__file__).parent
random = numpy.random.default_rng(1)


def table(rows):
    """Two numbers and two categories, a tenth of them missing; multiples of 1/8, which every float holds."""
    columns = [
        random.normal(size=rows).round(0) / 8,
        random.integers(0, 9, rows),
        random.normal(3, 2, rows).round(1) // 0.125 * 0.125,
        random.zipf(1.5, rows) % 40,
    ]
    values = numpy.array(columns, dtype=numpy.float32).T
    values[random.random(values.shape) < 0.1] = numpy.nan
    return values


train, asked = table(600), table(40)
# What training never saw, and what is no category at all.
asked[0], asked[1], asked[2] = [-1e30, -1, 1e30, 39.5], [-0.0, 77, 1e-20, -3], [1e-40, 1e9, -1e-40, 2**24]
known = numpy.nan_to_num(train, nan=3)
score = 4 * known[:, 0] + 2 * (known[:, 1] % 3 == 0) + 0.3 * known[:, 2] - 2 * (known[:, 3] % 4 == 1)
labels = {
    "regression": score + 2,
    "binary": (score > numpy.median(score)).astype(float),
    "multiclass": numpy.digitize(score, numpy.quantile(score, [0.3, 0.7])),
    "ranking": numpy.digitize(score, numpy.quantile(score, [0.5, 0.8, 0.95])),
}
groups = [20] * 30
new = xgboost.__version__.startswith("3.")
answers = {} if new else json.loads((FOLDER / "answers.json").read_text())["scores"]

for name, settings in {
    "regression": {"objective": "regression"},
    "binary": {"objective": "binary"},
    "multiclass": {"objective": "multiclass", "num_class": 3},
    "ranking": {"objective": "lambdarank"},
}.items() if new else ():
    settings |= {"num_leaves": 6, "min_data_per_group": 5, "cat_smooth": 1, "verbose": -1, "num_threads": 1}
    data = lightgbm.Dataset(
        train, labels[name], categorical_feature=[1, 3], group=groups if name == "ranking" else None
    )
    model = lightgbm.train(settings, data, 3)
    file = f"lightgbm_{name}.txt"
    text = model.model_to_string()
    if name != "binary":
        # The notes after the trees, once, are enough.
        text = text[: text.index("end of trees\n") + len("end of trees\n")]
    (FOLDER / file).write_text(text)
    answers[file] = model.predict(asked, raw_score=True).reshape(-1).tolist()

for name, settings in {
    "regression": {"objective": "reg:squarederror"},
    "binary": {"objective": "binary:logistic"},
    "multiclass": {"objective": "multi:softprob", "num_class": 3, "num_parallel_tree": 2, "subsample": 0.6},
    "ranking": {"objective": "rank:ndcg"},
    "dart": {"objective": "reg:squarederror", "booster": "dart", "rate_drop": 0.5, "one_drop": 1},
}.items():
    if not new and name != "multiclass":
        continue
    settings |= {"max_depth": 3, "max_cat_to_onehot": 2, "nthread": 1}
    types = {"feature_types": ["float", "c", "float", "c"], "enable_categorical": True}
    data = xgboost.DMatrix(train, labels.get(name, labels["regression"]), **types)
    if name == "ranking":
        data.set_group(groups)
    model = xgboost.train(settings, data, 3 if name != "multiclass" else 1)
    file = f"xgboost_{name}" + (".ubj" if name == "dart" else ".json" if new else "_2.json")
    model.save_model(FOLDER / file)
    scores = model.predict(xgboost.DMatrix(asked, **types), output_margin=True)
    answers[file] = scores.reshape(-1).tolist()

rows = [[None if numpy.isnan(value) else float(value) for value in row] for row in asked]
(FOLDER / "answers.json").write_text(json.dumps({"rows": rows, "scores": answers}))
