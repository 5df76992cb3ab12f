"""Pure vocabulary of mail: values and formats. Standard library only, no Django, no disk."""
