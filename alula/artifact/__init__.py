"""The offline model file: its layout, writer and reader."""
