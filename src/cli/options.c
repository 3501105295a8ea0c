// Parsing of command lines on top of getopt_long, and the help text, both from the command's table.
#include "cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MAX 63 // longer words are not compared: nobody mistypes one

int cli_usage(const cli_command *command, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "shortrun %s: ", command->name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return 2;
}

// ---- did you mean
// ----------------------------------------------------------------------------------

// Optimal string alignment distance: insertions, deletions, substitutions, swaps of neighbours.
static size_t distance(const char *a, const char *b) {
    const size_t n = strlen(a), m = strlen(b);
    size_t rows[3][WORD_MAX + 1];
    if (n > WORD_MAX || m > WORD_MAX)
        return WORD_MAX;
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = rows[i % 3], *before = rows[(i - 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = before[j - 1] + (a[i - 1] != b[j - 1]);
            best = before[j] + 1 < best ? before[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                const size_t swapped = rows[(i - 2) % 3][j - 2] + 1;
                best = swapped < best ? swapped : best;
            }
            now[j] = best;
        }
    }
    return rows[n % 3][m];
}

const char *cli_nearest(const char *word, size_t count,
                        const char *(*name)(size_t i, const void *of), const void *of) {
    const char *nearest = NULL;
    size_t least = 1 + (strlen(word) + 1) / 3; // a third of the word may be wrong
    for (size_t i = 0; i < count; i++) {
        const size_t d = distance(word, name(i, of));
        if (d < least) {
            least = d;
            nearest = name(i, of);
        }
    }
    return nearest;
}

static const char *option_name(size_t i, const void *of) {
    const cli_command *command = of;
    return i < command->option_count ? command->options[i].name : "help";
}

// ---- one value
// -------------------------------------------------------------------------------------

static void store_whole(const cli_option *option, void *field, uint64_t value) {
    if (option->size == sizeof(uint64_t))
        memcpy(field, &value, sizeof value);
    else
        memcpy(field, &(unsigned){(unsigned)value}, sizeof(unsigned));
}

static int read_count(const cli_command *command, const cli_option *option, const char *text,
                      void *field) {
    const double largest = option->size == sizeof(uint64_t) ? 9007199254740992.0 : 4294967295.0;
    const double high = option->high > 0.0 && option->high < largest ? option->high : largest;
    char *end = NULL;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    // strtoull would take "-1" for a very large number
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 ||
        (double)value < option->low || (double)value > high)
        return cli_usage(command, "--%s is '%.60s', expected a whole number from %.0f to %.0f",
                         option->name, text, option->low, high);
    store_whole(option, field, value);
    return CLI_GO;
}

static int read_number(const cli_command *command, const cli_option *option, const char *text,
                       void *field) {
    char *end = NULL;
    const double value = strtod(text, &end);
    const bool low = option->open_low ? value > option->low : value >= option->low;
    const bool high = option->high <= 0.0 || value <= option->high;
    if (end == text || *end != '\0' || !isfinite(value) || !low || !high) {
        char upper[40] = "";
        if (option->high > 0.0)
            snprintf(upper, sizeof upper, " and at most %g", option->high);
        return cli_usage(command, "--%s is '%.60s', expected a number %s %g%s", option->name, text,
                         option->open_low ? "above" : "of at least", option->low, upper);
    }
    memcpy(field, &value, sizeof value);
    return CLI_GO;
}

static int read_choice(const cli_command *command, const cli_option *option, const char *text,
                       void *field) {
    sr_text names = {0};
    for (int i = 0; i < option->choices; i++) {
        if (strcmp(option->choice(i), text) == 0) {
            sr_text_clear(&names);
            memcpy(field, &i, sizeof i);
            return CLI_GO;
        }
        sr_text_append(&names, "%s%s",
                       i == 0                    ? ""
                       : i + 1 < option->choices ? ", "
                                                 : " or ",
                       option->choice(i));
    }
    cli_usage(command, "--%s is '%.60s', expected %s", option->name, text, sr_text_string(&names));
    sr_text_clear(&names);
    return 2;
}

static int read_value(const cli_command *command, const cli_option *option, const char *text,
                      void *values) {
    void *field = (char *)values + option->offset;
    switch (option->type) {
    case CLI_FLAG:
        memcpy(field, &(bool){true}, sizeof(bool));
        return CLI_GO;
    case CLI_SWITCH:
        if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
            return cli_usage(command, "--%s is '%.60s', expected yes or no", option->name, text);
        memcpy(field, &(bool){text[0] == 'y'}, sizeof(bool));
        return CLI_GO;
    case CLI_TEXT:
        if (text[0] == '\0')
            return cli_usage(command, "--%s is empty, expected %s", option->name, option->value);
        memcpy(field, &text, sizeof text);
        return CLI_GO;
    case CLI_COUNT:
        return read_count(command, option, text, field);
    case CLI_NUMBER:
        return read_number(command, option, text, field);
    case CLI_CHOICE:
        return read_choice(command, option, text, field);
    }
    return CLI_GO;
}

// ---- the command line
// ------------------------------------------------------------------------------

#define FIRST_CODE 256 // getopt's codes of long options: out of the way of letters

static void make_getopt(const cli_command *command, struct option *longs, char *letters) {
    *letters++ = ':'; // a missing value is reported as ':'
    *letters++ = 'h';
    size_t i = 0;
    for (; i < command->option_count; i++) {
        const cli_option *option = &command->options[i];
        longs[i] =
            (struct option){.name = option->name,
                            .has_arg = option->type == CLI_FLAG ? no_argument : required_argument,
                            .val = FIRST_CODE + (int)i};
        if (option->letter) {
            *letters++ = option->letter;
            if (option->type != CLI_FLAG)
                *letters++ = ':';
        }
    }
    longs[i++] = (struct option){.name = "help", .has_arg = no_argument, .val = 'h'};
    longs[i] = (struct option){0};
    *letters = '\0';
}

static const cli_option *find_code(const cli_command *command, int code) {
    if (code >= FIRST_CODE)
        return &command->options[code - FIRST_CODE];
    for (size_t i = 0; i < command->option_count; i++) {
        if (command->options[i].letter && command->options[i].letter == code)
            return &command->options[i];
    }
    return NULL;
}

static int unknown_option(const cli_command *command, const char *word) {
    if (optopt >= FIRST_CODE)
        return cli_usage(command, "--%s takes no value", find_code(command, optopt)->name);
    if (optopt == 'h')
        return cli_usage(command, "--help takes no value");
    if (optopt != 0)
        return cli_usage(command, "unknown option -%c; shortrun %s --help lists the options",
                         optopt, command->name);
    char name[WORD_MAX + 1];
    const size_t length = strcspn(word + 2, "=");
    snprintf(name, sizeof name, "%.*s", (int)(length < WORD_MAX ? length : WORD_MAX), word + 2);
    const char *match[2] = {NULL, NULL};
    for (size_t i = 0, found = 0; i < command->option_count && found < 2; i++) {
        if (strncmp(command->options[i].name, name, strlen(name)) == 0)
            match[found++] = command->options[i].name;
    }
    if (match[1])
        return cli_usage(command, "--%s may mean --%s or --%s", name, match[0], match[1]);
    const char *near = cli_nearest(name, command->option_count + 1, option_name, command);
    if (near)
        return cli_usage(command, "unknown option --%s; did you mean --%s?", name, near);
    return cli_usage(command, "unknown option --%s; shortrun %s --help lists the options", name,
                     command->name);
}

static int take_operands(const cli_command *command, int argc, char **argv, cli_parsed *out) {
    const size_t count = (size_t)(argc - optind);
    if (count < command->least)
        return cli_usage(command, "expected %s; shortrun %s --help shows how to use it",
                         command->operands, command->name);
    if (count > command->most)
        return cli_usage(command,
                         "unexpected argument '%.60s'; shortrun %s --help shows how to use it",
                         argv[optind + (int)command->most], command->name);
    out->operand_count = count;
    for (size_t i = 0; i < count; i++)
        out->operands[i] = argv[optind + (int)i];
    return CLI_GO;
}

int cli_parse(const cli_command *command, int argc, char **argv, void *values, cli_parsed *out) {
    struct option longs[CLI_OPTIONS_MAX + 2];
    char letters[2 * CLI_OPTIONS_MAX + 3];
    *out = (cli_parsed){0};
    make_getopt(command, longs, letters);
    opterr = 0;
    optind = 0; // start anew (GNU)
    for (;;) {
        const int code = getopt_long(argc, argv, letters, longs, NULL);
        if (code == -1)
            return take_operands(command, argc, argv, out);
        if (code == 'h') {
            cli_help(command);
            return 0;
        }
        if (code == '?')
            return unknown_option(command, argv[optind - 1]);
        const cli_option *option = find_code(command, code == ':' ? optopt : code);
        if (code == ':')
            return cli_usage(command, "--%s needs a value", option->name);
        const int status = read_value(command, option, optarg, values);
        if (status != CLI_GO)
            return status;
        out->given[option - command->options] = true;
    }
}

bool cli_given(const cli_command *command, const cli_parsed *parsed, const char *option) {
    for (size_t i = 0; i < command->option_count; i++) {
        if (strcmp(command->options[i].name, option) == 0)
            return parsed->given[i];
    }
    return false;
}

// ---- help
// ------------------------------------------------------------------------------------------

#define HELP_COLUMN 30
#define HELP_WIDTH 100

// Words of `text`, wrapped between HELP_COLUMN and HELP_WIDTH; the cursor stands at `column`.
static void print_wrapped(const char *text, size_t column) {
    while (*text) {
        const size_t length = strcspn(text, " ");
        if (column > HELP_COLUMN && column + 1 + length > HELP_WIDTH) {
            printf("\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else if (column > HELP_COLUMN) {
            putchar(' ');
            column++;
        }
        printf("%.*s", (int)length, text);
        column += length;
        text += length;
        text += strspn(text, " ");
    }
    putchar('\n');
}

static void print_option(const cli_option *option) {
    char left[160] = "  ";
    size_t at = 2;
    if (option->letter)
        at += (size_t)snprintf(left + at, sizeof left - at, "-%c, ", option->letter);
    at += (size_t)snprintf(left + at, sizeof left - at, "--%s", option->name);
    for (int i = 0; option->type == CLI_CHOICE && i < option->choices; i++)
        at += (size_t)snprintf(left + at, sizeof left - at, "%s%s", i == 0 ? " " : "|",
                               option->choice(i));
    if (option->type == CLI_SWITCH)
        at += (size_t)snprintf(left + at, sizeof left - at, " yes|no");
    if (option->value)
        at += (size_t)snprintf(left + at, sizeof left - at, " %s", option->value);
    if (at + 2 > HELP_COLUMN)
        printf("%s\n%*s", left, HELP_COLUMN, "");
    else
        printf("%-*s", HELP_COLUMN, left);
    print_wrapped(option->help, HELP_COLUMN);
}

void cli_help(const cli_command *command) {
    printf("shortrun %s - %s\n\nUsage: shortrun %s%s%s [options]\n", command->name,
           command->summary, command->name, command->operands[0] ? " " : "", command->operands);
    if (command->about[0])
        printf("\n%s\n", command->about);
    for (size_t i = 0; i < command->option_count; i++) {
        if (command->options[i].heading || i == 0)
            printf("\n%s:\n",
                   command->options[i].heading ? command->options[i].heading : "Options");
        print_option(&command->options[i]);
    }
    printf("%s  %-*s%s\n", command->option_count ? "" : "\nOptions:\n", HELP_COLUMN - 2,
           "-h, --help", "this text");
    if (command->examples[0])
        printf("\nExamples:\n%s", command->examples);
}
