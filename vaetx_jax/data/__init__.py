"""Corpora, tokenizers and batches: from sentences to the batch of step n."""
