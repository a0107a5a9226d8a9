n_hidden = 16
