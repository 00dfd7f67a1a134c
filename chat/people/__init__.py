"""Who may come in and how: accounts, invitations, what is signed in where, groups and their rights."""
