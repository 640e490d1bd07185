"""Gradio's theme variables, all pointing at the tokens of `tokens.css`. Knows no component and no colour.

Every variable gets the same `var(--pz-…)` in its light and its dark form: the tokens themselves change with the appearance.
"""

from __future__ import annotations

import gradio as gr

INK1, INK2, INK3 = "var(--pz-ink1)", "var(--pz-ink2)", "var(--pz-ink3)"
PAPER, SURFACE, WASH, LINE, EDGE = "var(--pz-paper)", "var(--pz-surface)", "var(--pz-wash)", "var(--pz-line)", "var(--pz-edge)"
INDIGO, ROUGE, BUTTON, ON_BUTTON, HOVER = "var(--pz-indigo)", "var(--pz-rouge)", "var(--pz-btn)", "var(--pz-onbtn)", "var(--pz-btn-hover)"
NONE = "none"
CLEAR = "transparent"

COLOURS = {
    "body_background_fill": PAPER, "body_text_color": INK2, "body_text_color_subdued": INK3,
    "background_fill_primary": SURFACE, "background_fill_secondary": WASH,
    "border_color_primary": LINE, "border_color_accent": EDGE, "border_color_accent_subdued": LINE,
    "color_accent_soft": WASH, "code_background_fill": WASH,
    "link_text_color": INDIGO, "link_text_color_active": INDIGO, "link_text_color_hover": INDIGO, "link_text_color_visited": INDIGO,
    "block_background_fill": CLEAR, "block_border_color": LINE, "block_info_text_color": INK3,
    "block_label_background_fill": CLEAR, "block_label_border_color": CLEAR, "block_label_text_color": INK3,
    "block_title_background_fill": CLEAR, "block_title_border_color": CLEAR, "block_title_text_color": INK2,
    "panel_background_fill": CLEAR, "panel_border_color": LINE, "accordion_text_color": INK2, "stat_background_fill": WASH,
    "input_background_fill": SURFACE, "input_background_fill_focus": SURFACE, "input_background_fill_hover": SURFACE,
    "input_border_color": EDGE, "input_border_color_focus": INK1, "input_border_color_hover": EDGE, "input_placeholder_color": INK3,
    "checkbox_background_color": SURFACE, "checkbox_background_color_focus": SURFACE, "checkbox_background_color_hover": WASH,
    "checkbox_background_color_selected": BUTTON, "checkbox_border_color": EDGE, "checkbox_border_color_focus": EDGE,
    "checkbox_border_color_hover": EDGE, "checkbox_border_color_selected": BUTTON,
    "checkbox_label_background_fill": CLEAR, "checkbox_label_background_fill_hover": WASH, "checkbox_label_background_fill_selected": WASH,
    "checkbox_label_border_color": CLEAR, "checkbox_label_border_color_hover": CLEAR, "checkbox_label_border_color_selected": CLEAR,
    "checkbox_label_text_color": INK2, "checkbox_label_text_color_selected": INK1,
    "error_background_fill": SURFACE, "error_border_color": ROUGE, "error_text_color": ROUGE, "error_icon_color": ROUGE,
    "loader_color": INK3, "slider_color": INK2,
    "table_text_color": INK2, "table_border_color": LINE, "table_even_background_fill": CLEAR, "table_odd_background_fill": CLEAR,
    "table_row_focus": WASH,
    "button_primary_background_fill": BUTTON, "button_primary_background_fill_hover": HOVER, "button_primary_border_color": BUTTON,
    "button_primary_border_color_hover": HOVER, "button_primary_text_color": ON_BUTTON, "button_primary_text_color_hover": ON_BUTTON,
    "button_secondary_background_fill": SURFACE, "button_secondary_background_fill_hover": WASH, "button_secondary_border_color": EDGE,
    "button_secondary_border_color_hover": EDGE, "button_secondary_text_color": INK1, "button_secondary_text_color_hover": INK1,
    "button_cancel_background_fill": SURFACE, "button_cancel_background_fill_hover": WASH, "button_cancel_border_color": EDGE,
    "button_cancel_border_color_hover": EDGE, "button_cancel_text_color": INK1, "button_cancel_text_color_hover": INK1,
    "block_shadow": NONE, "input_shadow": NONE, "input_shadow_focus": NONE,
    "button_primary_shadow": NONE, "button_secondary_shadow": NONE,
    "button_primary_shadow_hover": NONE, "button_secondary_shadow_hover": NONE,
    "button_primary_shadow_active": NONE, "button_secondary_shadow_active": NONE,
    "block_border_width": "0px", "panel_border_width": "0px", "input_border_width": "1px", "button_border_width": "1px",
    "checkbox_label_border_width": "0px",
}  # fmt: skip

SHAPES = {
    "color_accent": INDIGO, "shadow_drop": NONE, "shadow_drop_lg": "var(--pz-shadow)", "shadow_spread": "0px",
    "checkbox_shadow": NONE, "checkbox_label_shadow": NONE, "block_label_shadow": NONE,
    "body_text_size": "15px", "chatbot_text_size": "16px", "block_title_text_size": "14px", "block_title_text_weight": "500",
    "block_info_text_size": "13px", "block_label_text_size": "14px", "input_text_size": "15px", "checkbox_label_text_size": "15px",
    "block_padding": "0px", "block_radius": "8px", "container_radius": "10px", "layout_gap": "12px", "form_gap_width": "12px",
    "input_radius": "8px", "input_padding": "8px 12px", "checkbox_border_radius": "3px", "checkbox_label_padding": "6px 10px",
    "button_large_radius": "8px", "button_medium_radius": "8px", "button_small_radius": "8px",
    "button_large_padding": "7px 16px", "button_medium_padding": "7px 16px", "button_small_padding": "5px 10px",
    "button_large_text_size": "14px", "button_medium_text_size": "14px", "button_small_text_size": "13px",
    "button_large_text_weight": "500", "button_medium_text_weight": "500", "button_small_text_weight": "400",
    "button_transition": "background-color 150ms,border-color 150ms,color 150ms", "prose_header_text_weight": "600",
}  # fmt: skip


def theme() -> gr.themes.Base:
    """Paper and ink; system fonts only, so no request leaves for a font."""
    base = gr.themes.Base(font=["var(--pz-sans)"], font_mono=["var(--pz-mono)"])
    both = COLOURS | {f"{name}_dark": value for name, value in COLOURS.items()}
    settable = set(gr.themes.Base.set.__kwdefaults__ or ())
    return base.set(**{name: value for name, value in both.items() if name in settable or not name.endswith("_dark")}, **SHAPES)
