// Options of the program: one table per command gives parsing, checks, --help and completion.
// Nothing here knows what a command does.
#ifndef SHORTRUN_CLI_OPTIONS_H
#define SHORTRUN_CLI_OPTIONS_H

#include <shortrun/base.h>

typedef enum cli_type {
    CLI_FLAG,   // bool; takes no value
    CLI_TEXT,   // const char *; points into argv
    CLI_COUNT,  // unsigned, size_t or uint64_t, by the field's size
    CLI_NUMBER, // double
    CLI_CHOICE, // an enum or int; names come from `choice`
    CLI_SWITCH  // bool; yes or no
} cli_type;

// What a text option or an operand names, for completion.
typedef enum cli_words {
    CLI_WORDS_NONE,
    CLI_WORDS_FILE,
    CLI_WORDS_FOLDER,
    CLI_WORDS_DATASET,
    CLI_WORDS_FEATURES
} cli_words;

typedef struct cli_option {
    const char *name; // "threads" is given as --threads
    char letter;      // 'o' for -o; 0: none
    cli_type type;
    const char *value;                // the value's name in the help; NULL for flags and choices
    size_t offset, size;              // of the field in the command's struct of values
    double low, high;                 // of counts and numbers, inclusive; high 0: no upper bound
    bool open_low;                    // numbers: `low` itself is not allowed
    const char *(*choice)(int value); // of a text: the words that completion offers
    int choices;
    cli_words words;
    const char *heading; // starts a group in the help
    const char *help;
} cli_option;

// For tables: CLI_AT(struct run_values, threads).
#define CLI_AT(type, field) .offset = offsetof(type, field), .size = sizeof(((type *)NULL)->field)

typedef struct cli_command cli_command;
struct cli_command {
    const char *name, *summary;
    const char *operands; // as in the help: "EXPERIMENT.yaml"; "" for none
    size_t least, most;   // number of operands
    cli_words words;      // of operands
    const char *about;    // paragraph of the help; "" for none
    const char *examples; // lines of the help, each indented by two
    const cli_option *options;
    size_t option_count;
    int (*run)(const cli_command *command, int argc, char **argv); // argv[0] is the command's name
};

#define CLI_OPTIONS_MAX 64
#define CLI_OPERANDS_MAX 4

typedef struct cli_parsed {
    bool given[CLI_OPTIONS_MAX]; // by index in the table
    size_t operand_count;
    const char *operands[CLI_OPERANDS_MAX];
} cli_parsed;

#define CLI_GO (-1)

// Reads argv into `values`, where every field holds its default. CLI_GO, or the status to exit
// with: 0 after --help, 2 after one line about what is wrong. May be called again with the same
// argv.
int cli_parse(const cli_command *command, int argc, char **argv, void *values, cli_parsed *out);
bool cli_given(const cli_command *command, const cli_parsed *parsed, const char *option);
void cli_help(const cli_command *command);

// The name nearest to `word`, or NULL when none is near: for "did you mean".
const char *cli_nearest(const char *word, size_t count,
                        const char *(*name)(size_t i, const void *of), const void *of);

// "shortrun NAME: ..." and a newline on stderr; returns 2, the status of wrong usage.
int cli_usage(const cli_command *command, const char *format, ...) SR_PRINTF(2, 3);

#endif
