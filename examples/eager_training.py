"""Two layers learn to tell three kinds of iris apart: eager tensors, plain gradient descent, nothing hidden.

python examples/eager_training.py

    epoch   1: loss 1.6079
    epoch  20: loss 0.3545
    epoch  40: loss 0.2209
    epoch  60: loss 0.1473
    epoch  80: loss 0.1109
    epoch 100: loss 0.0908
    48 of 50 test rows are told right
"""

import numpy as np

import tinygrad_lesson as tl
from tinygrad_lesson.lesson.data import load

HIDDEN, RATE, EPOCHS, BATCH = 10, 0.05, 100, 20


def scores(x, w1, b1, w2, b2):
    return tl.linear(tl.relu(tl.linear(x, w1, b1)), w2, b2)


def cross_entropy(x, label, weights):
    return -tl.sum(tl.log_softmax(scores(x, *weights)) * label) / len(x)


rows, rng = load(), np.random.default_rng(0)
shapes = [(HIDDEN, 4), (HIDDEN,), (3, HIDDEN), (3,)]
weights = [tl.Tensor(rng.uniform(-0.5, 0.5, shape), requires_grad=True) for shape in shapes]

for epoch in range(1, EPOCHS + 1):
    losses = []
    for start in range(0, len(rows.train_data), BATCH):
        batch = slice(start, start + BATCH)
        loss = cross_entropy(rows.train_data[batch], rows.train_label[batch], weights)
        loss.backward()
        for weight in weights:
            weight.value -= RATE * weight.grad.value
            weight.grad = None
        losses.append(loss.item())
    if epoch == 1 or epoch % 20 == 0:
        print(f"epoch {epoch:3}: loss {np.mean(losses):.4f}")

with tl.no_grad():
    found = scores(rows.test_data, *weights).numpy().argmax(axis=1)
right = np.sum(found == rows.test_label.argmax(axis=1))
print(f"{right} of {len(found)} test rows are told right")
