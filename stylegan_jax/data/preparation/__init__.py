"""From an archive to a prepared data set: images of one size in few large files."""
