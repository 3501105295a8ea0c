// A growing string.
#include <shortrun/base.h>

#include <stdio.h>
#include <string.h>

// Room for `more` bytes and the final NUL; false (and text->failed) when memory is short.
static bool reserve(sr_text *text, size_t more) {
    size_t needed;
    if (text->failed)
        return false;
    if (!sr_size_add(text->length, more, &needed) || !sr_size_add(needed, 1, &needed)) {
        text->failed = true;
        return false;
    }
    if (needed <= text->capacity)
        return true;
    size_t capacity = text->capacity < 64 ? 128 : text->capacity;
    while (capacity < needed && sr_size_mul(capacity, 2, &capacity))
        ;
    if (capacity < needed)
        capacity = needed;
    char *data = sr_realloc(text->data, text->capacity, capacity, 1);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void sr_text_append(sr_text *text, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0)
        text->failed = true;
    else if (reserve(text, (size_t)length)) {
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
}

void sr_text_append_bytes(sr_text *text, const void *bytes, size_t count) {
    if (!reserve(text, count))
        return;
    if (count > 0)
        memcpy(text->data + text->length, bytes, count);
    text->length += count;
    text->data[text->length] = '\0';
}

const char *sr_text_string(const sr_text *text) {
    return text->data ? text->data : "";
}

sr_status sr_text_status(const sr_text *text) {
    if (text->failed)
        return sr_fail(SR_ERROR_MEMORY, "out of memory: a text of more than %zu bytes",
                       text->length);
    return SR_OK;
}

void sr_text_clear(sr_text *text) {
    sr_free(text->data);
    *text = (sr_text){0};
}
