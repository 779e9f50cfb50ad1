package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/proofsync/proofsync/pkg/config"
)

// The flags that the tool shares with the services, by name and meaning, have
// the services' variables as well: one environment describes one database. As
// there, a flag wins and an empty variable counts as not set.

// fromEnvironment lets the variables of the named flags, which take text, decide
// their defaults. Help shows both.
func fromEnvironment(cmd *cobra.Command, flags ...string) {
	for _, name := range flags {
		f := cmd.Flags().Lookup(name)
		f.Usage += " [" + variable(name) + "]"
		if text := os.Getenv(variable(name)); text != "" {
			f.DefValue = text
			_ = f.Value.Set(text) // commands check it, and checkEnvironment
		}
	}
}

// given says whether a flag has a value that somebody chose.
func given(cmd *cobra.Command, flag string) bool {
	return cmd.Flags().Changed(flag) || os.Getenv(variable(flag)) != ""
}

// origin is what to blame for the value of a flag: itself or its variable.
func origin(cmd *cobra.Command, flag string) string {
	if !cmd.Flags().Changed(flag) && os.Getenv(variable(flag)) != "" {
		return variable(flag)
	}
	return "--" + flag
}

func variable(flag string) string {
	return config.Prefix + "_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// checkEnvironment refuses variables that neither the services nor the tool
// know. A shell that completes or sets up completion is left in peace.
func checkEnvironment(cmd *cobra.Command) error {
	for c := cmd; c != nil; c = c.Parent() {
		switch c.Name() {
		case "completion", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd:
			return nil
		}
	}
	if err := config.CheckEnvironment(); err != nil {
		return &usageError{err}
	}
	if text := os.Getenv(variable("output")); text != "" {
		if err := new(output).Set(text); err != nil {
			return usagef("%s %.40q: %w", variable("output"), text, err)
		}
	}
	return nil
}
