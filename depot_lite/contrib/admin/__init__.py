"""What the admins share: how files are received, shown and refused."""
