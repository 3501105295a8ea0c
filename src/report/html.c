// The page's style and its base64 encoder (RFC 4648, the only one of the project): what page.c
// needs besides text.
#include "report/report_internal.h"

#include <string.h>

void sr_base64(const void *bytes, size_t count, sr_text *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *in = bytes;
    char block[4096]; // a multiple of 4: only the last one is padded
    size_t filled = 0;
    for (size_t i = 0; i < count; i += 3) {
        size_t left = count - i;
        uint32_t three = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                         (left > 2 ? in[i + 2] : 0);
        block[filled++] = digits[three >> 18];
        block[filled++] = digits[three >> 12 & 63];
        block[filled++] = left > 1 ? digits[three >> 6 & 63] : '=';
        block[filled++] = left > 2 ? digits[three & 63] : '=';
        if (filled == sizeof block) {
            sr_text_append_bytes(out, block, filled);
            filled = 0;
        }
    }
    sr_text_append_bytes(out, block, filled);
}

const char sr_page_style[] =
    ":root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--line:#d8dee4;--paper:#fff;"
    "--shade:#f5f7f9;--accent:#0b5cad;--best:#e3f1e6}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa4ae;--line:#343b43;"
    "--paper:#14171a;--shade:#1d2226;--accent:#7db8f0;--best:#1e3a28}}\n"
    "*{box-sizing:border-box}\n"
    "html{scroll-behavior:smooth}\n"
    "body{margin:0;background:var(--paper);color:var(--ink);"
    "font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}\n"
    "header,main,footer{max-width:1080px;margin:0 auto;padding:0 20px}\n"
    "header{padding-top:36px}\n"
    "h1{font-size:1.9rem;line-height:1.2;margin:0 0 .3em;overflow-wrap:anywhere}\n"
    "h2{font-size:1.35rem;margin:2.4em 0 .7em;padding-bottom:.25em;border-bottom:1px solid "
    "var(--line);overflow-wrap:anywhere}\n"
    "h3{font-size:1.08rem;margin:1.6em 0 .5em;overflow-wrap:anywhere}\n"
    "p{margin:.5em 0}\n"
    ".soft,.note,figcaption{color:var(--soft)}\n"
    ".note,figcaption{font-size:.875rem}\n"
    "a{color:var(--accent)}\n"
    "nav{margin:1.2em 0;display:flex;flex-wrap:wrap;gap:.4em .6em}\n"
    "nav a{padding:.2em .75em;border:1px solid var(--line);border-radius:1em;text-decoration:none;"
    "font-size:.9rem}\n"
    "nav a:hover{background:var(--shade)}\n"
    ".facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;"
    "list-style:none;padding:0;margin:1.2em 0}\n"
    ".facts li{background:var(--shade);border-radius:8px;padding:.6em .9em}\n"
    ".facts b{display:block;font-size:1.25rem;line-height:1.3}\n"
    ".facts span{color:var(--soft);font-size:.85rem}\n"
    ".card{background:var(--shade);border-radius:8px;padding:.1em 1.1em .7em;margin:1em 0}\n"
    ".card h3{margin-top:.9em}\n"
    ".card b,h1 b{white-space:nowrap}\n"
    ".card ul{margin:.4em 0;padding-left:1.2em}\n"
    "figure{margin:1.4em 0}\n"
    "figure.table figcaption{margin-bottom:.5em}\n"
    "figure.table figcaption b{color:var(--ink);font-size:1rem}\n"
    "figure.plot img{display:block;max-width:100%;height:auto;background:#fff;border:1px solid "
    "var(--line);border-radius:8px}\n"
    "figure.plot figcaption{margin-top:.4em}\n"
    ".scroll{overflow-x:auto}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92rem}\n"
    "th,td{padding:.34em .75em;text-align:right;white-space:nowrap;border-bottom:1px solid "
    "var(--line)}\n"
    "thead th{border-bottom:2px solid var(--line);font-weight:600}\n"
    ".words,tr.group th{text-align:left}\n"
    "tr.group th{padding-top:1em;color:var(--soft);font-weight:600}\n"
    "td.best{background:var(--best)}\n"
    "table.grids th,table.grids td{border:0;padding:5px;text-align:center;vertical-align:top}\n"
    "table.grids th.row{text-align:right;vertical-align:middle;font-weight:600;white-space:normal;"
    "min-width:6.5em;max-width:9em}\n"
    "table.grids img{display:block;width:290px;max-width:none;height:auto;border-radius:6px;"
    "background:#fff}\n"
    "table.grids .empty{width:290px;height:290px;display:flex;align-items:center;"
    "justify-content:center;border:1px dashed var(--line);border-radius:6px;color:var(--soft)}\n"
    "details{margin:1em 0}\n"
    "summary{cursor:pointer;color:var(--accent)}\n"
    "pre{background:var(--shade);border-radius:8px;padding:.9em 1.1em;overflow-x:auto;"
    "font-size:.85rem;line-height:1.45}\n"
    "code{font-family:ui-monospace,SFMono-Regular,Menlo,'DejaVu Sans Mono',monospace}\n"
    "dt{font-weight:600;margin-top:.7em}\n"
    "dd{margin:.1em 0 0}\n"
    ".warn{border-left:4px solid #d08700;background:var(--shade);padding:.6em 1em;border-radius:0 "
    "8px "
    "8px 0}\n"
    "footer{color:var(--soft);font-size:.85rem;padding-top:2.5em;padding-bottom:3em}\n"
    "@media(max-width:600px){body{font-size:15px}h1{font-size:1.5rem}header,main,footer{padding-"
    "left:"
    "14px;padding-right:14px}th,td{padding:.3em .5em}table.grids img{width:210px}"
    "table.grids .empty{width:210px;height:210px}}\n"
    "@media print{nav{display:none}figure{break-inside:avoid}}\n";
