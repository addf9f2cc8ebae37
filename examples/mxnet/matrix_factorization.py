"""Ratings are products of what users like and what items have: embeddings find both, written for MXNet 1.9.

python -m tinygrad_lesson.mx examples/mxnet/matrix_factorization.py     two seconds; prints the error on other ratings
"""

import mxnet as mx
import numpy as np

USERS, ITEMS, FACTORS = 30, 20, 3


def plain_net(k):
    """The score of a user and an item: the product of their vectors."""
    user, item, score = mx.symbol.Variable("user"), mx.symbol.Variable("item"), mx.symbol.Variable("score")
    user = mx.symbol.Embedding(data=user, input_dim=USERS, output_dim=k, name="user_embed")
    item = mx.symbol.Embedding(data=item, input_dim=ITEMS, output_dim=k, name="item_embed")
    pred = mx.symbol.Flatten(mx.symbol.sum(user * item, axis=1))
    return mx.symbol.LinearRegressionOutput(data=pred, label=score, name="score_out")


def RMSE(label, pred):  # noqa: N802
    """The error of all scores."""
    return np.sqrt(np.mean((label - pred.flatten()) ** 2))


rng = np.random.RandomState(0)
likes, has = rng.normal(size=(USERS, FACTORS)), rng.normal(size=(ITEMS, FACTORS))
pairs = rng.permutation(USERS * ITEMS)
user, item = (pairs // ITEMS).astype("float32"), (pairs % ITEMS).astype("float32")
score = (likes @ has.T).reshape(-1)[pairs].astype("float32")


def ratings(part, shuffle=False):
    """Some of them, in batches."""
    data = {"user": user[part], "item": item[part]}
    return mx.io.NDArrayIter(data, {"score": score[part]}, batch_size=50, shuffle=shuffle)


mx.random.seed(0)
mod = mx.mod.Module(plain_net(FACTORS), data_names=["user", "item"], label_names=["score"], context=mx.cpu())
mod.fit(
    ratings(slice(0, 500)),
    eval_metric=mx.metric.CustomMetric(RMSE),
    num_epoch=60,
    optimizer="adam",
    optimizer_params={"learning_rate": 0.05},
    initializer=mx.init.Normal(0.5),
)
error = mod.score(ratings(slice(500, 600)), mx.metric.create(RMSE))[0][1]
print(f"error below a tenth: {error < 0.1}")
