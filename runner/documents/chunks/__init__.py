"""Cutting documents into chunks: the splitters, what they measure, and the outline that they keep to."""
