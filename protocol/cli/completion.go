package cli

import (
	"context"
	"flag"

	"github.com/spf13/cobra"
)

// completionCommand is the verb that prints what a shell needs to complete the command
// line of root.
func completionCommand(root *cobra.Command) Command {
	return Command{
		Name:      "completion",
		Arguments: "SHELL",
		Values:    []string{"bash", "fish", "powershell", "zsh"},
		Summary:   "prints a script with which a shell completes arguments",
		Details: "In bash, it needs the package bash-completion. To have it in every shell, write it to where the shell looks for such scripts: " +
			"for bash a file in ~/.local/share/bash-completion/completions with the name of the program, for fish one in ~/.config/fish/completions with .fish after that name, " +
			"for zsh one in a directory of $fpath with _ before it, and for PowerShell the file $PROFILE.",
		Examples: []string{"completion bash", "completion zsh"},
		New: func(*flag.FlagSet) func(context.Context, Env) error {
			return func(_ context.Context, env Env) error {
				switch env.Args[0] {
				case "bash":
					return root.GenBashCompletionV2(env.Stdout, true)
				case "fish":
					return root.GenFishCompletion(env.Stdout, true)
				case "powershell":
					return root.GenPowerShellCompletionWithDesc(env.Stdout)
				default:
					return root.GenZshCompletion(env.Stdout)
				}
			}
		},
	}
}
