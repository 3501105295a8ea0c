// shortrun completion: a completion script for bash, made from the tables of options.
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static void print_choices(const cli_option *option) {
    if (option->type == CLI_SWITCH)
        printf("COMPREPLY=($(compgen -W 'yes no' -- \"$word\"))");
    else if (option->choice) {
        printf("COMPREPLY=($(compgen -W '");
        for (int i = 0; i < option->choices; i++)
            printf("%s%s", i ? " " : "", option->choice(i));
        printf("' -- \"$word\"))");
    } else if (option->words == CLI_WORDS_FOLDER) {
        printf("COMPREPLY=($(compgen -d -- \"$word\"))");
    } else if (option->words == CLI_WORDS_DATASET) {
        printf("COMPREPLY=($(compgen -f -W \"$datasets\" -- \"$word\"))");
    } else if (option->words == CLI_WORDS_FEATURES) {
        printf("COMPREPLY=($(compgen -f -W \"$datasets inception none\" -- \"$word\"))");
    } else if (option->words == CLI_WORDS_FILE) {
        printf("COMPREPLY=($(compgen -f -- \"$word\"))");
    } else {
        printf(":");
    }
}

static void print_command(const cli_command *command) {
    printf("    %s)\n        case $before in\n", command->name);
    for (size_t i = 0; i < command->option_count; i++) {
        const cli_option *option = &command->options[i];
        if (option->type == CLI_FLAG)
            continue;
        printf("        --%s", option->name);
        if (option->letter)
            printf(" | -%c", option->letter);
        printf(") ");
        print_choices(option);
        printf("; return ;;\n");
    }
    printf("        esac\n        if [[ $word == -* ]]; then\n"
           "            COMPREPLY=($(compgen -W '--help");
    for (size_t i = 0; i < command->option_count; i++)
        printf(" --%s", command->options[i].name);
    printf("' -- \"$word\"))\n        else\n            ");
    const cli_option operand = {.type = CLI_TEXT, .words = command->words};
    if (strcmp(command->name, "completion") == 0)
        printf("COMPREPLY=(bash)");
    else
        print_choices(&operand);
    printf("\n        fi ;;\n");
}

static void print_bash(void) {
    printf("# bash completion for shortrun; put it where bash-completion looks, or: "
           "source <(shortrun completion bash)\n"
           "_shortrun() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
           "    local datasets='");
    for (const char *const *name = sr_dataset_names(); *name; name++)
        printf("%s ", *name);
    printf("'\n    COMPREPLY=()\n    if ((COMP_CWORD == 1)); then\n"
           "        COMPREPLY=($(compgen -W '");
    for (size_t i = 0; i < cli_command_count; i++)
        printf("%s ", cli_commands[i]->name);
    printf("--help --version' -- \"$word\"))\n        return\n    fi\n"
           "    case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; i < cli_command_count; i++)
        print_command(cli_commands[i]);
    printf("    esac\n}\ncomplete -o filenames -F _shortrun shortrun\n");
}

static int run(const cli_command *command, int argc, char **argv) {
    cli_parsed parsed;
    const int status = cli_parse(command, argc, argv, NULL, &parsed);
    if (status != CLI_GO)
        return status;
    if (strcmp(parsed.operands[0], "bash") != 0)
        return cli_usage(command, "no completion for '%.40s', expected bash", parsed.operands[0]);
    print_bash();
    return 0;
}

const cli_command cli_completion_command = {
    .name = "completion",
    .summary = "print a completion script for the shell",
    .operands = "bash",
    .least = 1,
    .most = 1,
    .about = "",
    .examples = "  source <(shortrun completion bash)\n",
    .run = run,
};
