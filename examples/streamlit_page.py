"""A page that shows which demonstrations were chosen for a text, why, and what the model made of them.

Run it:

    pip install ruie-components streamlit
    streamlit run examples/streamlit_page.py
"""

import os

import streamlit as st

from ruie_components import Extractor, Query, Selector
from ruie_components.report import highlight
from ruie_components.selection import Method
from ruie_components.starter import starter_store

COLOURS = "".join(f".c{i} {{ background: {colour}; color: #16191d }}" for i, colour in enumerate(highlight.PALETTE))


@st.cache_resource
def pool():
    """The starter pool; open your own with DemonstrationStore.open("pool")."""
    return starter_store()


def show(annotated, indices) -> None:
    """A text with its spans in colour. Texts are escaped; captions name the labels."""
    html = highlight.to_html(annotated.text, highlight.marks_of(annotated), indices)
    st.html(f"<style>{COLOURS} small {{ margin: 0 .4em }}</style>{html}")


store = pool()
st.title("Which demonstrations?")
text = st.text_area("Text", "Aurora Air flies from Lisbon to Mexico City from May, with fares from €310.")
labels = st.multiselect("Labels", store.labels("NER"), ["city", "airline", "price"])
left, right = st.columns(2)
method = left.selectbox("Method", [str(method) for method in Method])
k = right.slider("Demonstrations", 0, 16, 4)

if text.strip() and labels:
    query = Query(task="NER", text=text, labels=labels)
    extractor = Extractor(store, os.environ.get("RUIE_MODEL", "baseline"), selector=Selector(method, k=k))
    result = extractor.extract(query)
    indices = highlight.label_indices([*labels, *store.labels("NER")])

    st.header("Extracted")
    show(result.extraction, indices)
    st.dataframe(result.to_rows(), column_order=("type", "span", "start", "end"))
    for item in result.extraction.rejected:
        st.caption(f"rejected, {item.reason}: {item.answer}")

    st.header("Shown to the model, best first")
    found = {entity.type for entity in result.extraction.entities}
    for shown in result.demonstrations:
        common = sorted(found & set(shown.example.annotation_labels))
        st.caption(f"score {shown.score:.2f}, labels in common: {', '.join(common) or 'none'}")
        show(shown.example, indices)

    with st.expander(f"The prompt, about {result.prompt.tokens:,} tokens"):
        st.code(result.prompt.text, language=None)
else:
    st.info("Give a text and at least one label.")
