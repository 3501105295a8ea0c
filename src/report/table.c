// A table of text cells and its printers: aligned text for a terminal, Markdown, LaTeX (booktabs),
// HTML. It knows nothing of records; what stands in the cells is decided in tables.c.
#include "report/report_internal.h"

#include <string.h>

#define TEXT_WIDTH 100 // columns of a terminal that a text table should fit

void sr_table_init(sr_table *table, size_t columns, size_t labels) {
    *table = (sr_table){.columns = columns, .labels = labels};
    table->head = sr_alloc(columns, sizeof *table->head);
    table->failed = !table->head;
}

static void clear_row(sr_table_row *row, size_t columns) {
    for (size_t c = 0; row->cells && c < columns; c++)
        sr_free(row->cells[c].text);
    sr_free(row->cells);
    sr_free(row->label);
}

void sr_table_clear(sr_table *table) {
    for (size_t c = 0; table->head && c < table->columns; c++)
        sr_free(table->head[c]);
    sr_free(table->head);
    for (size_t r = 0; r < table->rows; r++)
        clear_row(&table->row[r], table->columns);
    sr_free(table->row);
    sr_text_clear(&table->title);
    sr_text_clear(&table->caption);
    sr_text_clear(&table->notes);
    *table = (sr_table){0};
}

static void replace(sr_table *table, char **slot, const char *text) {
    sr_free(*slot);
    *slot = sr_strdup(text);
    table->failed |= !*slot;
}

void sr_table_head(sr_table *table, size_t column, const char *text) {
    if (table->head && column < table->columns)
        replace(table, &table->head[column], text);
}

static sr_table_row *grow(sr_table *table) {
    if (table->rows == table->capacity) {
        size_t capacity = table->capacity ? 2 * table->capacity : 16;
        sr_table_row *bigger =
            sr_realloc(table->row, table->capacity, capacity, sizeof *table->row);
        if (!bigger) {
            table->failed = true;
            return NULL;
        }
        table->row = bigger;
        table->capacity = capacity;
    }
    return &table->row[table->rows++];
}

size_t sr_table_add_row(sr_table *table) {
    sr_table_row *row = grow(table);
    if (!row)
        return 0;
    row->cells = sr_alloc(table->columns, sizeof *row->cells);
    table->failed |= !row->cells;
    return table->rows - 1;
}

void sr_table_add_label(sr_table *table, const char *label) {
    sr_table_row *row = grow(table);
    if (row)
        replace(table, &row->label, label);
}

void sr_table_set(sr_table *table, size_t row, size_t column, const char *text, bool best) {
    if (row >= table->rows || column >= table->columns || !table->row[row].cells)
        return;
    sr_table_cell *cell = &table->row[row].cells[column];
    replace(table, &cell->text, text);
    cell->best = best;
}

sr_status sr_table_status(const sr_table *table) {
    if (table->failed || table->title.failed || table->caption.failed || table->notes.failed)
        return sr_fail(SR_ERROR_MEMORY, "out of memory while a table was made");
    return SR_OK;
}

// ---- escaping -----------------------------------------------------------------------------------

typedef struct replacement {
    const char *from, *to;
} replacement;

static const replacement html_replacements[] = {{"&", "&amp;"},   {"<", "&lt;"},  {">", "&gt;"},
                                                {"\"", "&quot;"}, {"'", "&#39;"}, {NULL, NULL}};

static const replacement markdown_replacements[] = {
    {"\\", "\\\\"}, {"|", "\\|"},   {"*", "\\*"}, {"_", "\\_"}, {"`", "\\`"},
    {"[", "\\["},   {"]", "\\]"},   {"#", "\\#"}, {"~", "\\~"}, {"<", "&lt;"},
    {">", "&gt;"},  {"&", "&amp;"}, {"\r", " "},  {"\n", " "},  {NULL, NULL}};

static const replacement latex_replacements[] = {{"\\", "\\textbackslash{}"},
                                                 {"{", "\\{"},
                                                 {"}", "\\}"},
                                                 {"$", "\\$"},
                                                 {"&", "\\&"},
                                                 {"#", "\\#"},
                                                 {"_", "\\_"},
                                                 {"%", "\\%"},
                                                 {"~", "\\textasciitilde{}"},
                                                 {"^", "\\textasciicircum{}"},
                                                 {"<", "\\textless{}"},
                                                 {">", "\\textgreater{}"},
                                                 {"|", "\\textbar{}"},
                                                 {"\"", "\\textquotedbl{}"},
                                                 {"±", "$\\pm$"},
                                                 {"†", "$\\dagger$"},
                                                 {"σ", "$\\sigma$"},
                                                 {"\r", " "},
                                                 {"\n", " "},
                                                 {NULL, NULL}};

static const replacement text_replacements[] = {
    {"\r", " "}, {"\n", " "}, {"\t", " "}, {"\033", "?"}, {NULL, NULL}};

void sr_escape(sr_markup markup, const char *text, sr_text *out) {
    const replacement *list = markup == SR_MARKUP_HTML       ? html_replacements
                              : markup == SR_MARKUP_MARKDOWN ? markdown_replacements
                              : markup == SR_MARKUP_LATEX    ? latex_replacements
                                                             : text_replacements;
    while (*text) {
        const replacement *match = list;
        while (match->from && strncmp(text, match->from, strlen(match->from)) != 0)
            match++;
        if (match->from) {
            sr_text_append(out, "%s", match->to);
            text += strlen(match->from);
        } else {
            sr_text_append_bytes(out, text++, 1);
        }
    }
}

void sr_csv_field(const char *text, sr_text *out) {
    if (!strpbrk(text, ",\"\r\n")) {
        sr_text_append(out, "%s", text);
        return;
    }
    sr_text_append(out, "\"");
    for (; *text; text++) {
        if (*text == '"')
            sr_text_append(out, "\"");
        sr_text_append_bytes(out, text, 1);
    }
    sr_text_append(out, "\"");
}

// ---- plain text ---------------------------------------------------------------------------------

static size_t display_width(const char *text) {
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xC0) != 0x80; // UTF-8: every byte but the continuations
    return width;
}

static const char *cell_text(const sr_table *table, size_t row, size_t column) {
    const char *text = table->row[row].cells ? table->row[row].cells[column].text : NULL;
    return text ? text : "";
}

static const char *head_text(const sr_table *table, size_t column) {
    return table->head && table->head[column] ? table->head[column] : "";
}

// Numbers and values stand right, words left.
static bool stands_right(const sr_table *table, size_t column) {
    if (column >= table->labels)
        return true;
    for (size_t r = 0; r < table->rows; r++) {
        const char *text = cell_text(table, r, column);
        if (*text && !strchr("0123456789-+.", *text))
            return false;
    }
    return true;
}

static size_t column_width(const sr_table *table, size_t column) {
    size_t width = display_width(head_text(table, column));
    for (size_t r = 0; r < table->rows; r++) {
        size_t w = display_width(cell_text(table, r, column));
        width = w > width ? w : width;
    }
    return width;
}

static void print_padded(const char *text, size_t width, bool right, const char *mark,
                         sr_text *out) {
    sr_text safe = {0};
    sr_escape(SR_MARKUP_TEXT, text, &safe);
    const char *shown = sr_text_string(&safe);
    int pad = (int)(width - display_width(shown));
    sr_text_append(out, "%*s%s%s%*s", right ? pad : 0, "", shown, mark, right ? 0 : pad, "");
    sr_text_clear(&safe);
}

static void trim_line(sr_text *out) {
    while (out->length > 0 && out->data[out->length - 1] == ' ')
        out->data[--out->length] = 0;
    sr_text_append(out, "\n");
}

// Columns `from` to `to` of the values behind the label columns; row < 0: the head.
static void print_text_row(const sr_table *table, long row, size_t from, size_t to, sr_text *out) {
    for (size_t c = 0; c < to; c++) {
        if (c >= table->labels && c < from)
            continue;
        bool right = stands_right(table, c), label = c < table->labels;
        const char *text = row < 0 ? head_text(table, c) : cell_text(table, (size_t)row, c);
        bool best = row >= 0 && table->row[row].cells && table->row[row].cells[c].best;
        sr_text_append(out, "%s", c == 0 ? "" : "  ");
        print_padded(text, column_width(table, c), right, label ? "" : best ? "*" : " ", out);
    }
    trim_line(out);
}

static size_t span_width(const sr_table *table, size_t from, size_t to) {
    size_t width = 0;
    for (size_t c = 0; c < to; c++)
        width +=
            c < table->labels || c >= from ? column_width(table, c) + 2 + (c >= table->labels) : 0;
    return width > 3 ? width - 3 : width; // no gap before the first column, no mark behind the last
}

static void print_text_part(const sr_table *table, size_t from, size_t to, sr_text *out) {
    print_text_row(table, -1, from, to, out);
    for (size_t i = span_width(table, from, to); i > 0; i--)
        sr_text_append(out, "-");
    sr_text_append(out, "\n");
    for (size_t r = 0; r < table->rows; r++) {
        if (table->row[r].label)
            sr_text_append(out, "%s\n", table->row[r].label);
        else
            print_text_row(table, (long)r, from, to, out);
    }
}

static void print_text(const sr_table *table, sr_text *out) {
    sr_escape(SR_MARKUP_TEXT, sr_text_string(&table->title), out);
    sr_text_append(out, "\n%s\n", sr_text_string(&table->caption));
    size_t from = table->labels;
    do { // parts that fit, each with at least one value column
        size_t to = from < table->columns ? from + 1 : from;
        while (to < table->columns && span_width(table, from, to + 1) <= TEXT_WIDTH)
            to++;
        if (from > table->labels)
            sr_text_append(out, "\n");
        print_text_part(table, from, to, out);
        from = to;
    } while (from < table->columns);
    sr_text_append(out, "%s", sr_text_string(&table->notes));
}

// ---- Markdown -----------------------------------------------------------------------------------

static void append_lines(const sr_text *lines, sr_markup markup, const char *end, sr_text *out) {
    for (const char *line = sr_text_string(lines); *line;) {
        size_t length = strcspn(line, "\n");
        sr_text one = {0};
        sr_text_append_bytes(&one, line, length);
        sr_escape(markup, sr_text_string(&one), out);
        sr_text_append(out, "%s", end);
        sr_text_clear(&one);
        line += length + (line[length] == '\n');
    }
}

static void print_markdown(const sr_table *table, sr_text *out) {
    sr_text_append(out, "### ");
    sr_escape(SR_MARKUP_MARKDOWN, sr_text_string(&table->title), out);
    sr_text_append(out, "\n\n");
    append_lines(&table->caption, SR_MARKUP_MARKDOWN, "\n", out);
    sr_text_append(out, "\n|");
    for (size_t c = 0; c < table->columns; c++) {
        sr_text_append(out, " ");
        sr_escape(SR_MARKUP_MARKDOWN, head_text(table, c), out);
        sr_text_append(out, " |");
    }
    sr_text_append(out, "\n|");
    for (size_t c = 0; c < table->columns; c++)
        sr_text_append(out, stands_right(table, c) ? " ---: |" : " --- |");
    sr_text_append(out, "\n");
    for (size_t r = 0; r < table->rows; r++) {
        sr_text_append(out, "|");
        for (size_t c = 0; c < table->columns; c++) {
            bool label = table->row[r].label && c == 0;
            bool strong = label || (table->row[r].cells && table->row[r].cells[c].best);
            sr_text_append(out, strong ? " **" : " ");
            sr_escape(SR_MARKUP_MARKDOWN, label ? table->row[r].label : cell_text(table, r, c),
                      out);
            sr_text_append(out, strong ? "** |" : " |");
        }
        sr_text_append(out, "\n");
    }
    sr_text_append(out, "\n");
    append_lines(&table->notes, SR_MARKUP_MARKDOWN, "\n\n", out);
}

// ---- LaTeX --------------------------------------------------------------------------------------

static void print_latex_head(const char *text, sr_text *out) {
    if (strcmp(text, "sigma") == 0)
        sr_text_append(out, "$\\sigma$");
    else if (strcmp(text, "s") == 0 || strcmp(text, "T") == 0 || strncmp(text, "K = ", 4) == 0)
        sr_text_append(out, "$%s$", text);
    else
        sr_escape(SR_MARKUP_LATEX, text, out);
}

static void print_latex(const sr_table *table, sr_text *out) {
    sr_text_append(out, "%% needs \\usepackage{booktabs}\n\\begin{table}\n\\centering\n\\caption{");
    sr_escape(SR_MARKUP_LATEX, sr_text_string(&table->title), out);
    sr_text_append(out, ". ");
    append_lines(&table->caption, SR_MARKUP_LATEX, " ", out);
    append_lines(&table->notes, SR_MARKUP_LATEX, " ", out);
    sr_text_append(out, "}\n\\begin{tabular}{");
    for (size_t c = 0; c < table->columns; c++)
        sr_text_append(out, stands_right(table, c) ? "r" : "l");
    sr_text_append(out, "}\n\\toprule\n");
    for (size_t c = 0; c < table->columns; c++) {
        sr_text_append(out, c ? " & " : "");
        print_latex_head(head_text(table, c), out);
    }
    sr_text_append(out, " \\\\\n\\midrule\n");
    for (size_t r = 0; r < table->rows; r++) {
        if (table->row[r].label) {
            sr_text_append(out, "%s\\multicolumn{%zu}{l}{\\textit{", r ? "\\midrule\n" : "",
                           table->columns);
            sr_escape(SR_MARKUP_LATEX, table->row[r].label, out);
            sr_text_append(out, "}} \\\\\n");
            continue;
        }
        for (size_t c = 0; c < table->columns; c++) {
            bool best = table->row[r].cells && table->row[r].cells[c].best;
            sr_text_append(out, "%s%s", c ? " & " : "", best ? "\\textbf{" : "");
            sr_escape(SR_MARKUP_LATEX, cell_text(table, r, c), out);
            sr_text_append(out, best ? "}" : "");
        }
        sr_text_append(out, " \\\\\n");
    }
    sr_text_append(out, "\\bottomrule\n\\end{tabular}\n\\end{table}\n");
}

// ---- HTML ---------------------------------------------------------------------------------------

static void print_html_head(const char *text, sr_text *out) {
    if (strcmp(text, "sigma") == 0)
        sr_text_append(out, "<i>σ</i>");
    else if (strcmp(text, "s") == 0 || strcmp(text, "T") == 0)
        sr_text_append(out, "<i>%s</i>", text);
    else if (strncmp(text, "K = ", 4) == 0)
        sr_text_append(out, "<i>K</i> = %s", text + 4);
    else
        sr_escape(SR_MARKUP_HTML, text, out);
}

static void print_html_row(const sr_table *table, size_t r, sr_text *out) {
    const sr_table_row *row = &table->row[r];
    if (row->label) {
        sr_text_append(out, "<tr class=\"group\"><th colspan=\"%zu\" scope=\"colgroup\">",
                       table->columns);
        sr_escape(SR_MARKUP_HTML, row->label, out);
        sr_text_append(out, "</th></tr>\n");
        return;
    }
    sr_text_append(out, "<tr>");
    for (size_t c = 0; c < table->columns; c++) {
        bool best = row->cells && row->cells[c].best;
        sr_text_append(out, "<td%s%s>%s", stands_right(table, c) ? "" : " class=\"words\"",
                       best ? " class=\"best\"" : "", best ? "<b>" : "");
        sr_escape(SR_MARKUP_HTML, cell_text(table, r, c), out);
        sr_text_append(out, "%s</td>", best ? "</b>" : "");
    }
    sr_text_append(out, "</tr>\n");
}

static void print_html(const sr_table *table, sr_text *out) {
    sr_text_append(out, "<figure class=\"table\">\n<figcaption><b>");
    sr_escape(SR_MARKUP_HTML, sr_text_string(&table->title), out);
    sr_text_append(out, "</b><br>");
    append_lines(&table->caption, SR_MARKUP_HTML, " ", out);
    sr_text_append(out, "</figcaption>\n<div class=\"scroll\"><table>\n<thead><tr>");
    for (size_t c = 0; c < table->columns; c++) {
        sr_text_append(out, "<th scope=\"col\"%s>",
                       stands_right(table, c) ? "" : " class=\"words\"");
        print_html_head(head_text(table, c), out);
        sr_text_append(out, "</th>");
    }
    sr_text_append(out, "</tr></thead>\n<tbody>\n");
    for (size_t r = 0; r < table->rows; r++)
        print_html_row(table, r, out);
    sr_text_append(out, "</tbody>\n</table></div>\n");
    if (table->notes.length) {
        sr_text_append(out, "<p class=\"note\">");
        append_lines(&table->notes, SR_MARKUP_HTML, "<br>", out);
        sr_text_append(out, "</p>\n");
    }
    sr_text_append(out, "</figure>\n");
}

void sr_table_print(const sr_table *table, sr_markup markup, sr_text *out) {
    switch (markup) {
    case SR_MARKUP_MARKDOWN:
        print_markdown(table, out);
        break;
    case SR_MARKUP_LATEX:
        print_latex(table, out);
        break;
    case SR_MARKUP_HTML:
        print_html(table, out);
        break;
    default:
        print_text(table, out);
        break;
    }
}
