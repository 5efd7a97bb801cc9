"""The `alula` command: one module a subcommand, each with HELP, configure(parser) and run(arguments)."""
