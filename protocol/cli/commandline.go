package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ingest-connectors/whoop-iceberg/internal/nearest"
	"github.com/ingest-connectors/whoop-iceberg/internal/progress"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// The groups of verbs.
const (
	protocolVerbs = "Verbs of the Airbyte protocol, which print JSON messages"
	textVerbs     = "Verbs for people, which print text"
)

// fileUsages describe the flags of the protocol's verbs.
var fileUsages = map[string]string{
	"config":  "path of the configuration `FILE`, or - for standard input",
	"catalog": "path of the configured catalog `FILE`",
	"state":   "path of the `FILE` with the states from which to continue",
}

// helpWidth is that of the narrowest terminal in use.
const helpWidth = 80

// A usageError is a command line that cannot be run.
type usageError string

func (e usageError) Error() string { return string(e) }

func usageErrorf(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// do runs the verb that the arguments name, and returns the exit code.
func (r *run) do(ctx context.Context) int {
	r.env.Name = cmp.Or(r.env.Name, r.program)
	r.stopped = ctx.Done()
	r.screen = r.env.screen(true)
	r.secrets.Add(r.env.secrets()...)
	r.paths = map[string]*string{}
	root := r.commandLine()
	verb, _, err := root.Find(r.env.Args)
	if err != nil {
		verb = root // help and completion, or one that does not exist
	}
	root.SetArgs(withTwoDashes(verb, r.env.Args))
	if cmd, err := root.ExecuteContextC(ctx); err != nil {
		return r.refuse(root, cmd, err)
	}
	return r.code
}

// commandLine declares the verbs, their flags and their help.
func (r *run) commandLine() *cobra.Command {
	root := &cobra.Command{
		// The scripts that complete arguments know the program by its name alone.
		Use:           strings.TrimSuffix(filepath.Base(r.env.Name), ".exe"),
		Long:          r.env.Summary,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: r.env.Name},
		SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if version, err := cmd.Flags().GetBool("version"); err != nil || !version {
				return usageErrorf("no verb is given")
			}
			_, err := fmt.Fprintf(r.env.Stdout, "%s %s\n", cmd.Name(), versionText())
			return err
		},
	}
	root.Flags().Bool("version", false, "print the version")
	root.AddGroup(&cobra.Group{ID: protocolVerbs}, &cobra.Group{ID: textVerbs})
	for _, v := range r.verbs {
		root.AddCommand(r.protocolCommand(v))
	}
	for _, c := range r.extra {
		root.AddCommand(r.textCommand(c))
	}
	help := &cobra.Command{
		Use: "help [VERB]", Short: "prints this, or the help of a verb", GroupID: textVerbs,
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, _, err := root.Find(args)
			if err != nil {
				return err
			}
			return r.help(r.env.Stdout, cmd)
		},
	}
	root.SetHelpCommand(help)
	root.AddCommand(help)
	root.SetOut(r.env.Stdout)
	root.SetErr(r.env.Stderr)
	root.AddCommand(r.textCommand(completionCommand(root)))
	for _, cmd := range append(root.Commands(), root) {
		cmd.DisableFlagsInUseLine = true
		cmd.Flags().BoolP("help", "h", false, "print this help")
	}
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { _ = r.help(r.env.Stdout, cmd) })
	return root
}

// protocolCommand declares a verb of the protocol.
func (r *run) protocolCommand(v verb) *cobra.Command {
	use := []string{v.name}
	for _, name := range v.flags {
		use = append(use, "--"+name+" FILE")
	}
	for _, name := range v.optional {
		use = append(use, "[--"+name+" FILE]")
	}
	cmd := &cobra.Command{
		Use:     strings.Join(use, " "),
		Long:    sentence(v.summary),
		Example: r.examples(v.examples),
		GroupID: protocolVerbs,
		Args:    func(_ *cobra.Command, args []string) error { return checkArguments("", nil, args) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			r.code = r.runProtocol(cmd.Context(), v, cmd)
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	for _, name := range slices.Concat(v.flags, v.optional) {
		if r.paths[name] == nil {
			r.paths[name] = new(string)
		}
		usage := fileUsages[name]
		if v.input { // standard input has the messages
			usage = strings.TrimSuffix(usage, ", or - for standard input")
		}
		cmd.Flags().StringVar(r.paths[name], name, "", usage)
	}
	if v.progress {
		r.declareProgress(cmd)
	}
	cmd.Flags().BoolVar(&r.debug, "debug", false, "log also at level DEBUG, such as requests and waits")
	return cmd
}

func (r *run) declareProgress(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&r.progress, "progress", false, "say on standard error how the run goes (default: if it is a terminal)")
}

// newProgress returns what shows how the run goes, if the verb's flag says so, or on a
// terminal; else nil.
func (r *run) newProgress(cmd *cobra.Command) *progress.Progress {
	f := cmd.Flags().Lookup("progress")
	if f == nil || !r.progress && (f.Changed || !r.screen.IsTerminal()) {
		return nil
	}
	return progress.New(r.screen, r.program, &r.secrets)
}

// wanted says what the value of a flag must be, by the flag's type.
var wanted = map[string]string{
	"bool":     "true or false",
	"duration": "a duration, as in 30s, 5m or 24h",
	"int":      "a whole number",
	"int64":    "a whole number",
	"uint64":   "a whole number",
}

// flagError explains an error in the flags of a verb.
func flagError(cmd *cobra.Command, err error) error {
	if invalid := (*pflag.InvalidValueError)(nil); errors.As(err, &invalid) {
		return usageErrorf("--%s is %q; it must be %s", invalid.GetFlag().Name, invalid.GetValue(), cmp.Or(wanted[invalid.GetFlag().Value.Type()], "another value"))
	}
	unknown := (*pflag.NotExistError)(nil)
	if !errors.As(err, &unknown) {
		return usageError(err.Error())
	}
	given := "--" + unknown.GetSpecifiedName()
	if letters := unknown.GetSpecifiedShortnames(); letters != "" {
		given, _, _ = strings.Cut("-"+letters, "=")
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := nearest.Name(strings.TrimLeft(given, "-"), names); near != "" {
		return usageErrorf("unknown flag %s; did you mean --%s?", given, near)
	}
	return usageErrorf("unknown flag %s", given)
}

// refuse reports a command line that cannot be run: to people on stderr, and to an
// orchestrator as a TRACE if it may have meant a verb of the protocol.
func (r *run) refuse(root, cmd *cobra.Command, err error) int {
	message := cmd.Name() + ": " + err.Error()
	if cmd.Parent() == nil || cmd.Name() == "help" {
		cmd = root
		message = err.Error()
		if wrong := usageError(""); !errors.As(err, &wrong) {
			message = r.noVerb(root)
		}
	}
	if len(r.env.Args) == 0 {
		_ = r.help(r.env.Stderr, cmd)
		return exitUsage
	}
	if cmd != root && cmd.GroupID != protocolVerbs {
		fmt.Fprintln(r.env.Stderr, r.secrets.Clean(message))
	} else {
		r.newEmitter(identity(r.env.Stderr), slog.LevelInfo, nil)
		r.report(context.Background(), &protocol.Error{Kind: protocol.ConfigError, Message: message})
	}
	if cmd == root {
		fmt.Fprintf(r.env.Stderr, "%s help lists the verbs.\n", cmd.CommandPath())
	} else {
		fmt.Fprintf(r.env.Stderr, "Usage: %s\n%s --help shows its flags and examples.\n", useLine(cmd), cmd.CommandPath())
	}
	return exitUsage
}

// noVerb says that the first argument is none, and which was probably meant.
func (r *run) noVerb(root *cobra.Command) string {
	given := r.env.Args[max(0, slices.IndexFunc(r.env.Args, func(arg string) bool { return arg != "help" && !strings.HasPrefix(arg, "-") }))]
	var names []string
	for _, cmd := range root.Commands() {
		names = append(names, cmd.Name())
	}
	return fmt.Sprintf("There is no verb %q.%s", given, nearest.DidYouMean(given, names))
}

// help writes what a verb does, or which verbs there are.
func (r *run) help(w io.Writer, cmd *cobra.Command) error {
	var b strings.Builder
	if long := cmp.Or(cmd.Long, sentence(cmd.Short)); long != "" {
		b.WriteString(wrap(long) + "\n\n")
	}
	fmt.Fprintf(&b, "Usage:\n  %s\n", useLine(cmd))
	if cmd.Example != "" {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	for _, group := range cmd.Groups() {
		fmt.Fprintf(&b, "\n%s:\n", group.ID)
		for _, verb := range cmd.Commands() {
			switch {
			case verb.GroupID != group.ID:
			case verb.Short == "":
				fmt.Fprintf(&b, "  %s\n", verb.Use)
			default:
				fmt.Fprintf(&b, "  %-*s %s\n", verb.NamePadding(), verb.Name(), verb.Short)
			}
		}
	}
	fmt.Fprintf(&b, "\nFlags:\n%s", cmd.LocalFlags().FlagUsagesWrapped(helpWidth))
	if cmd.Parent() == nil {
		b.WriteString("\n" + wrap(cmd.DisplayName()+" VERB --help shows the flags of a verb, with examples. "+
			"The exit code is 0 after a success, 1 after a failure, and 2 if the arguments are wrong.") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// useLine is how a verb is called.
func useLine(cmd *cobra.Command) string {
	if cmd.HasSubCommands() {
		return cmd.CommandPath() + " VERB [flags]"
	}
	return cmd.UseLine() + " [flags]"
}

// examples are command lines with the program's name.
func (r *run) examples(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		fmt.Fprintf(&b, "  %s %s\n", r.env.Name, line)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// wrap breaks the lines of a text so that they fit a terminal. An empty line parts two
// paragraphs; other line breaks count as blanks.
func wrap(text string) string {
	var b strings.Builder
	for i, paragraph := range strings.Split(text, "\n\n") {
		if i > 0 {
			b.WriteString("\n\n")
		}
		column := 0
		for j, word := range strings.Fields(paragraph) {
			switch width := utf8.RuneCountInString(word); {
			case j == 0:
				column = width
			case column+1+width > helpWidth:
				b.WriteByte('\n')
				column = width
			default:
				b.WriteByte(' ')
				column += 1 + width
			}
			b.WriteString(word)
		}
	}
	return b.String()
}

// sentence makes one of a summary.
func sentence(summary string) string {
	first, size := utf8.DecodeRuneInString(summary)
	if size == 0 {
		return ""
	}
	return string(unicode.ToUpper(first)) + summary[size:] + "."
}
