"""Parts shared by the admins: receiving, displaying and refusing files."""
