"""A model of the next letter: embeddings of the last few, one hidden layer, in numpy."""

import numpy as np


class Model:
    def __init__(self, vocab_size, block_size, n_embd, n_hidden, init_scale):
        width = block_size * n_embd
        self.weights = {
            "embed": 0.5 * np.random.standard_normal((vocab_size, n_embd)),
            "hidden": init_scale * np.random.standard_normal((width, n_hidden)) / np.sqrt(width),
            "bias": np.zeros(n_hidden),
            "out": init_scale * np.random.standard_normal((n_hidden, vocab_size)) / np.sqrt(n_hidden),
        }

    def activation(self, x):
        return np.tanh(x)

    def slope(self, h):
        return 1 - h**2

    def forward(self, x):
        inputs = self.weights["embed"][x].reshape(len(x), -1)
        hidden = self.activation(inputs @ self.weights["hidden"] + self.weights["bias"])
        logits = hidden @ self.weights["out"]
        logits -= logits.max(axis=1, keepdims=True)
        return inputs, hidden, logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    def loss(self, x, y):
        return -self.forward(x)[2][np.arange(len(y)), y].mean()

    def gradients(self, x, y):
        inputs, hidden, log_p = self.forward(x)
        error = np.exp(log_p)
        error[np.arange(len(y)), y] -= 1
        error /= len(y)
        back = (error @ self.weights["out"].T) * self.slope(hidden)
        embed = np.zeros_like(self.weights["embed"])
        grad = (back @ self.weights["hidden"].T).reshape(*x.shape, -1)
        np.add.at(embed, x, grad)
        return {
            "embed": embed,
            "hidden": inputs.T @ back,
            "bias": back.sum(axis=0),
            "out": hidden.T @ error,
        }
