"""The report's drawings, one kind a module. They take plain figures and know neither runs nor artifacts."""
