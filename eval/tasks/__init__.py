"""Networks that classify or segment images: their data, training, predictions and scores."""
