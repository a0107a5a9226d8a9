"""Trains a small language model for a fixed time and prints its val_bpb. The file to experiment on."""

import time

import numpy as np
from prepare import LETTERS, TIME_BUDGET, evaluate_bpb, load

# --- hyperparameters -------------------------------------------------------------------------------------
SEED = 42
CONTEXT = 4
EMBED = 16
HIDDEN = 64
BATCH = 64
LEARNING_RATE = 0.1
MOMENTUM = 0.9
INIT_SCALE = 1.0
FINAL_LR_FRACTION = 0.1
LABEL_SMOOTHING = 0.0
CLIP = 1e9

rng = np.random.default_rng(SEED)


def init(rows, columns):
    return INIT_SCALE * rng.standard_normal((rows, columns)) / np.sqrt(rows)


weights = {
    "embed": 0.5 * rng.standard_normal((LETTERS, EMBED)),
    "hidden": init(CONTEXT * EMBED, HIDDEN),
    "bias": np.zeros(HIDDEN),
    "out": init(HIDDEN, LETTERS),
}
velocity = {name: np.zeros_like(value) for name, value in weights.items()}


def forward(rows):
    """(count, CONTEXT) letters -> inputs, hidden units, and log-probabilities of the next letter."""
    inputs = weights["embed"][rows].reshape(len(rows), -1)
    hidden = np.tanh(inputs @ weights["hidden"] + weights["bias"])
    logits = hidden @ weights["out"]
    logits -= logits.max(axis=1, keepdims=True)
    return inputs, hidden, logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def gradients(rows, targets):
    inputs, hidden, log_p = forward(rows)
    error = np.exp(log_p)
    error[np.arange(len(rows)), targets] -= 1 - LABEL_SMOOTHING
    error = (error - LABEL_SMOOTHING / LETTERS) / len(rows)
    back = (error @ weights["out"].T) * (1 - hidden**2)
    embed = np.zeros_like(weights["embed"])
    np.add.at(embed, rows.ravel(), (back @ weights["hidden"].T).reshape(-1, EMBED))
    return {"embed": embed, "hidden": inputs.T @ back, "bias": back.sum(axis=0), "out": hidden.T @ error}


text = load("train")
data_rng = np.random.default_rng(SEED)
began, step = time.time(), 0
while (spent := time.time() - began) < TIME_BUDGET:
    # Cosine to a fraction of the peak over the time budget.
    share = spent / TIME_BUDGET
    lr = LEARNING_RATE * (FINAL_LR_FRACTION + (1 - FINAL_LR_FRACTION) * 0.5 * (1 + np.cos(np.pi * share)))
    places = data_rng.integers(CONTEXT, len(text), BATCH)
    grads = gradients(text[places[:, None] + np.arange(-CONTEXT, 0)], text[places])
    for name, grad in grads.items():
        size = np.sqrt((grad**2).sum())
        grad *= min(1.0, CLIP / (size + 1e-12))
        velocity[name] = MOMENTUM * velocity[name] - lr * grad
        weights[name] += velocity[name]
    step += 1

print("---")
print(f"val_bpb:          {evaluate_bpb(lambda rows: forward(rows)[2], CONTEXT):.6f}")
print(f"training_seconds: {time.time() - began:.1f}")
print(f"num_steps:        {step}")
