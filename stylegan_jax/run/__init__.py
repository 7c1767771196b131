"""What surrounds the training step: data in; pictures, scores, checkpoints, logs and alarms out."""
