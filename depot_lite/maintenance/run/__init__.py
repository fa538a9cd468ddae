"""The parts of a long job: pace, checkpoint, progress and reports."""
