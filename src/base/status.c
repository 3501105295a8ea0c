// Status texts and the calling thread's last error message.
#include <shortrun/base.h>

#include <stdio.h>
#include <string.h>

#define MESSAGE_BYTES 1024 // longer messages are cut

static _Thread_local char message[MESSAGE_BYTES];

const char *sr_status_string(sr_status status) {
    switch (status) {
#define STATUS_CASE(name, text)                                                                    \
    case name:                                                                                     \
        return text;
        SR_STATUS_LIST(STATUS_CASE)
#undef STATUS_CASE
    }
    return "unknown status";
}

sr_status sr_fail(sr_status status, const char *format, ...) {
    // Through a local buffer: an argument may be sr_error_message() itself.
    char line[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    memcpy(message, line, sizeof line);
    return status;
}

sr_status sr_fail_context(sr_status status, const char *format, ...) {
    char line[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    size_t length = written < 0 ? 0 : (size_t)written;
    if (written < 0)
        line[0] = '\0';
    if (length >= sizeof line)
        length = sizeof line - 1;
    // The separator is ours unless the caller brought one.
    bool separated = length == 0 || line[length - 1] == ':' || line[length - 1] == ' ';
    snprintf(line + length, sizeof line - length, "%s%s", separated ? "" : ": ", message);
    memcpy(message, line, sizeof line);
    return status;
}

const char *sr_error_message(void) {
    return message;
}
