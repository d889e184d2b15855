"""From a corpus to the batch of step n."""
