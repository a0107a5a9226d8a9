"""Trains a small model of letters; options as in `python train.py config/small.py --max_iters=300`."""

import os
import pickle

import numpy as np
from model import Model

# I/O
out_dir = "out"
eval_interval = 100
eval_iters = 40
# data
dataset = "letters"
batch_size = 32
block_size = 3
# model
n_hidden = 32
n_embd = 8
init_scale = 1.0
# optimiser
learning_rate = 0.2
momentum = 0.9
weight_decay = 0.0
max_iters = 400
lr_decay_iters = 400
min_lr = 0.02
exec(open("configurator.py").read())  # overrides from the command line or a file

os.makedirs(out_dir, exist_ok=True)
np.random.seed(1337)
data_dir = os.path.join("data", dataset)
with open(os.path.join(data_dir, "meta.pkl"), "rb") as file:
    vocab_size = pickle.load(file)["vocab_size"]


def get_batch(split):
    text = np.fromfile(os.path.join(data_dir, f"{split}.bin"), dtype=np.uint8).astype(np.int64)
    places = np.random.randint(block_size, len(text), batch_size)
    x = text[places[:, None] + np.arange(-block_size, 0)]
    y = text[places]
    return x, y


model = Model(vocab_size, block_size, n_embd, n_hidden, init_scale)


def estimate_loss():
    out = {}
    for split in ("train", "val"):
        losses = [model.loss(*get_batch(split)) for _ in range(eval_iters)]
        out[split] = np.mean(losses)
    return out


def get_lr(it):
    return min_lr + 0.5 * (1 + np.cos(np.pi * min(1.0, it / lr_decay_iters))) * (learning_rate - min_lr)


X, Y = get_batch("train")  # fetch the very first batch
velocity = {name: np.zeros_like(value) for name, value in model.weights.items()}
iter_num = 0
while True:
    if iter_num % eval_interval == 0:
        losses = estimate_loss()
        print(f"step {iter_num}: train loss {losses['train']:.4f}, val loss {losses['val']:.4f}")
    lr = get_lr(iter_num)
    for name, grad in model.gradients(X, Y).items():
        velocity[name] = momentum * velocity[name] - lr * (grad + weight_decay * model.weights[name])
        model.weights[name] += velocity[name]
    X, Y = get_batch("train")
    iter_num += 1
    if iter_num > max_iters:
        break
