"""Step kinds that do little, and go wrong on demand; and recipes made of them without YAML."""
