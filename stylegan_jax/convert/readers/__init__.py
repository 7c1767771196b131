"""Files of checkpoints to inert data, without torch and TensorFlow and without running anything."""
