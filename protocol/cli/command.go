package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/internal/nearest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
)

// A Command is a verb that the protocol does not have. It prints text for people:
//
//	cli.Command{
//		Name:      "preview",
//		Arguments: "STREAM",
//		Summary:   "prints rows of a stream's table as a reader sees them",
//		Examples:  []string{"preview sleep --config destination.json --limit 3"},
//		Config:    true,
//		New: func(flags *flag.FlagSet) func(context.Context, cli.Env) error {
//			limit := flags.Int("limit", 10, "maximum `NUMBER` of rows; 0: all")
//			return func(ctx context.Context, env cli.Env) error {
//				return preview(ctx, env.Config, env.Args[0], *limit, env.Stdout)
//			}
//		},
//	}
//
// Its error or panic goes to stderr, with exit code 1. Arguments that do not fit, or a
// flag that it does not have, end the run with exit code 2 before it starts.
type Command struct {
	Name string
	// Arguments are those that are not flags, as in "STREAM", "[STREAM]..." or "FROM TO":
	// one in brackets may be left out, and one with dots may be repeated. They may stand
	// before, between and after the flags, and are in env.Args. "": it takes none.
	Arguments string
	// Values, if not nil, are what the arguments can be. Others are refused, and shells
	// complete them.
	Values []string
	// Summary says what it does in one line, without a full stop: "prints …". Details,
	// which may be "", are the sentences that follow it in the verb's own help.
	Summary, Details string
	Examples         []string // one or two command lines, without the program's name
	// Config adds the required flag --config. The configuration is read as for the
	// verbs of the protocol: unknown keys cause warnings, secrets are redacted.
	Config bool
	// Required are the flags without which it cannot run. It says itself that one is missing.
	Required []string
	// Progress adds the flag --progress. The verb says in env.Progress how it goes.
	Progress bool
	// New declares the flags and returns the function to run. In the text of a flag,
	// back quotes enclose the name of its value: `FILE`. If only a few values are
	// possible, they are the name, and shells complete them: `own|all`.
	New func(*flag.FlagSet) func(ctx context.Context, env Env) error
}

// textCommand declares a verb for people.
func (r *run) textCommand(c Command) *cobra.Command {
	flags := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	config := ""
	use := []string{c.Name}
	if c.Arguments != "" {
		use = append(use, c.Arguments)
	}
	if c.Config {
		use = append(use, "--config FILE")
		flags.StringVar(&config, "config", "", fileUsages["config"])
	}
	f := c.New(flags)
	cmd := &cobra.Command{
		Use:     strings.Join(use, " "),
		Short:   c.Summary,
		Long:    strings.TrimSpace(sentence(c.Summary) + "\n\n" + c.Details),
		Example: r.examples(c.Examples),
		GroupID: textVerbs,
		Args:    func(_ *cobra.Command, args []string) error { return checkArguments(c.Arguments, c.Values, args) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return c.Values, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r.env.Args = args
			r.code = r.runText(cmd, c, config, f)
			return nil
		},
	}
	cmd.Flags().AddGoFlagSet(flags)
	for _, name := range c.Required {
		value, _ := pflag.UnquoteUsage(cmd.Flags().Lookup(name))
		cmd.Use += " --" + name + " " + value
	}
	if c.Progress {
		r.declareProgress(cmd)
	}
	completeChoices(cmd)
	return cmd
}

// completeChoices lets shells complete the flags whose values have a name such as
// own|all.
func completeChoices(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.DefValue == "0s" {
			f.DefValue = "" // as the help shows other zeros
		}
		name, _ := pflag.UnquoteUsage(f)
		choices := strings.Split(name, "|")
		if len(choices) < 2 {
			return
		}
		if err := cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			panic(err) // the flag exists
		}
	})
}

// checkArguments compares the arguments of a verb with those that it declares.
func checkArguments(declared string, values, args []string) error {
	names := strings.Fields(declared)
	for i, name := range names {
		if i >= len(args) && !strings.HasPrefix(name, "[") {
			return usageErrorf("%s is missing", strings.TrimSuffix(name, "..."))
		}
	}
	switch {
	case len(names) == 0 && len(args) > 0:
		return usageErrorf("%q is not a flag", args[0])
	case len(args) > len(names) && !strings.HasSuffix(declared, "..."):
		return usageErrorf("%q is one argument too many", args[len(names)])
	}
	for _, arg := range args {
		if values != nil && !slices.Contains(values, arg) {
			what := strings.ToLower(strings.Trim(names[0], "[]."))
			return usageErrorf("There is no %s %s.%s There are: %s.", what, arg, nearest.DidYouMean(arg, values), strings.Join(values, ", "))
		}
	}
	return nil
}

// runText runs a verb for people: text on stdout, errors on stderr.
func (r *run) runText(cmd *cobra.Command, c Command, configPath string, f func(context.Context, Env) error) int {
	r.screen = r.env.screen(false)
	r.env.Stderr, r.env.Secrets = r.secrets.Writer(r.screen), &r.secrets
	r.env.Progress = r.newProgress(cmd)
	defer r.env.Progress.End()
	if err := r.withConfig(cmd.Context(), c.Config, configPath, f); err != nil {
		message := err.Error()
		if e := (*protocol.Error)(nil); errors.As(err, &e) {
			message = e.Message
		}
		fmt.Fprintln(r.env.Stderr, message)
		if p := (*goroutine.PanicError)(nil); errors.As(err, &p) {
			fmt.Fprint(r.env.Stderr, p.Stack)
		}
		return exitError
	}
	return exitOK
}

func (r *run) withConfig(ctx context.Context, wantsConfig bool, configPath string, f func(context.Context, Env) error) (err error) {
	defer goroutine.Recover(&err)
	env := r.env
	if wantsConfig {
		if configPath == "" {
			return protocol.ConfigError.Errorf(nil, "Give the configuration's path with --config.")
		}
		if env.Config, err = r.loadConfig(configPath); err != nil {
			return err
		}
		for _, warning := range spec.UnknownKeys(r.schema(), env.Config) {
			fmt.Fprintln(env.Stderr, "warning: "+warning)
		}
	}
	return f(ctx, env)
}

// withTwoDashes lets the flags of a verb be written with one dash too, as package flag
// allows and the library does not.
func withTwoDashes(cmd *cobra.Command, args []string) []string {
	args = append([]string{}, args...) // the library takes nil for the arguments of the process
	for i, arg := range args {
		if arg == "--" {
			break
		}
		name, _, _ := strings.Cut(arg, "=")
		if len(name) > 2 && name[0] == '-' && cmd.Flags().Lookup(name[1:]) != nil {
			args[i] = "-" + arg
		}
	}
	return args
}
