"""How a long job runs: its pace, its checkpoint, its reports."""
