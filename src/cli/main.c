// shortrun: the program. Finds the command and hands over; every command is in a file of its own.
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const cli_command *const cli_commands[] = {
    &cli_run_command,      &cli_train_command,    &cli_sample_command,  &cli_energy_command,
    &cli_evaluate_command, &cli_compare_command,  &cli_density_command, &cli_report_command,
    &cli_profile_command,  &cli_features_command, &cli_info_command,    &cli_completion_command,
};
const size_t cli_command_count = sizeof cli_commands / sizeof *cli_commands;

static void print_help(void) {
    printf("shortrun " SR_VERSION
           " - trains energy-based models with short-run dynamics and measures "
           "them\n\nUsage: shortrun COMMAND [options]\n\nCommands:\n");
    for (size_t i = 0; i < cli_command_count; i++)
        printf("  %-12s%s\n", cli_commands[i]->name, cli_commands[i]->summary);
    printf(
        "\nOptions:\n  -h, --help  this text; shortrun COMMAND --help explains a command\n"
        "  --version   the version\n\nExamples:\n"
        "  shortrun run bench/experiments/quick.yaml     # an experiment: tables, figures, report\n"
        "  shortrun train --dataset eight_gaussians --output model.safetensors\n"
        "  shortrun sample model.safetensors --n 1000 --output samples.npy\n");
}

static const char *command_name(size_t i, const void *of) {
    return ((const cli_command *const *)of)[i]->name;
}

// What stands in stdio's buffer may not fit on the disk: that is an error like any other.
static int finish(int status) {
    errno = 0;
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == 0)
        return cli_error("writing to standard output: %s", errno ? strerror(errno) : "failed");
    return status;
}

int main(int argc, char **argv) {
    sr_blas_stop_threads();
    if (argc < 2) {
        cli_error("expected a command; shortrun --help lists them");
        return 2;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        print_help();
        return finish(0);
    }
    if (strcmp(word, "--version") == 0) {
        printf("shortrun " SR_VERSION "\n");
        return finish(0);
    }
    for (size_t i = 0; i < cli_command_count; i++) {
        const cli_command *command = cli_commands[i];
        if (strcmp(word, "help") == 0 && argc > 2 && strcmp(argv[2], command->name) == 0) {
            cli_help(command);
            return finish(0);
        }
        if (strcmp(word, command->name) == 0)
            return finish(command->run(command, argc - 1, argv + 1));
    }
    if (strcmp(word, "help") == 0 && argc == 2) {
        print_help();
        return finish(0);
    }
    const char *what = strcmp(word, "help") == 0 ? argv[2] : word;
    const char *near = cli_nearest(what, cli_command_count, command_name, cli_commands);
    if (near)
        cli_error("unknown command '%.60s'; did you mean %s?", what, near);
    else
        cli_error("unknown command '%.60s'; shortrun --help lists them", what);
    return 2;
}
