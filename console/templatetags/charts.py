"""`{% chart figure %}`: a place for a chart, above the table with the same numbers."""

from __future__ import annotations

from typing import Any, Final, cast

from django import template
from django.templatetags.static import static
from django.utils.html import format_html, json_script
from django.utils.safestring import SafeString

from console.charts import Chart

register = template.Library()
LIBRARY: Final = "echarts/echarts.min.js"
_SCRIPT: Final = "console.charts.script"
_FIGURE: Final = (
    '<figure class="plot{}" data-chart="{}" data-library="{}" data-note="{}"{}>'
    '<div class="canvas" role="img" aria-label="{}" data-height="{}"></div>'
    '<figcaption><span>{}</span> <button type="button" class="link" hidden>Save as PNG</button></figcaption>{}</figure>{}'
)


@register.simple_tag(takes_context=True)
def chart(context: template.Context, figure: Chart) -> SafeString:
    """A figure. It takes no room until its script has drawn it; the script is loaded once, however many there are."""
    page = cast(dict[str, Any], context.render_context.dicts[0])  # of the whole page, above loops and included templates
    first = not page.setdefault(_SCRIPT, False)
    page[_SCRIPT] = True
    script = format_html('<script src="{}" defer></script>', static("console/charts.js")) if first else ""
    mark = SafeString(" data-synthetic") if figure.synthetic else ""
    wide = " wide" if figure.wide else ""
    label = f"{figure.title}. The table below has the same numbers."
    data = json_script(dict(figure.option), f"chart-{figure.name}")
    head = (wide, figure.name, static(LIBRARY), figure.note, mark, label, figure.height)
    return format_html(_FIGURE, *head, figure.title, data, script)
