"""The lesson's training loop, written out on an executor, with an iterator of one's own; gradients vanish.

python examples/executor_training.py

    epoch = 1: loss = 0.3662 (Speed: 23534.44 sample/secs)
    ...
    epoch = 100: loss = 0.3660 (Speed: 27652.89 sample/secs)
    mean |gradient| of each weight, first to last: 2e-12 6e-13 3e-13 1e-11 5e-09 3e-07 5e-06 2e-04
"""

import time

import numpy as np

from tinygrad_lesson.lesson.data import load
from tinygrad_lesson.lesson.networks import cross_entropy, mlp
from tinygrad_lesson.random import MXNetGenerator
from tinygrad_lesson.train import callback, initializer, optimizer

BATCH = 20


class Batches:
    def __init__(self, **arrays):
        self.arrays = arrays

    def reset(self):
        self.start = -BATCH

    def iter_next(self):
        self.start += BATCH
        return self.start < len(self.arrays["data"])

    def value(self):
        return {name: array[self.start : self.start + BATCH] for name, array in self.arrays.items()}


rows, loss = load(), cross_entropy(mlp(8))
batches = Batches(data=rows.train_data, label=rows.train_label)
parameters = [name for name in loss.list_arguments() if name not in batches.arrays]
executor = loss.simple_bind(grad_req=dict.fromkeys(parameters, "write"), data=(BATCH, 4), label=(BATCH, 3))
weights = executor.arg_dict
generator, updater = MXNetGenerator(0), optimizer.get_updater(optimizer.create("adam", learning_rate=0.001))
for name in parameters:
    weights[name][:] = initializer.Uniform(0.01)(name, weights[name].shape, generator)

for epoch in range(1, 101):
    began, losses, magnitudes = time.perf_counter(), [], []
    batches.reset()
    while batches.iter_next():
        losses.append(executor.forward(is_train=True, **batches.value())[0].asscalar())
        executor.backward()
        for name in parameters:
            updater(name, executor.grad_dict[name], weights[name])
        magnitudes.append([np.abs(executor.grad_dict[n]).mean() for n in parameters if "weight" in n])
    if callback.is_logged(epoch):
        speed = len(rows.train_data) / (time.perf_counter() - began)
        print(callback.log_line(epoch, np.mean(losses), speed))
print("mean |gradient| of each weight, first to last:", *(f"{m:.0e}" for m in np.mean(magnitudes, axis=0)))
