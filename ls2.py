import json
d=json.load(open("export.json"))
# a: mixture: unreviewed tasks w. predictions only; b: skipped; c: two annotators; d: key not text; e: choices; f: html
def w(n,x): json.dump(x,open(n,"w"))
import copy
x=copy.deepcopy(d)
for t in x[:5]:
    t["predictions"]=[{"model_version":"m","result":t["annotations"][0]["result"]}]; t["annotations"]=[]
w("a_unreviewed.json",x)
x=copy.deepcopy(d); x[0]["annotations"][0]["was_cancelled"]=True; w("b_skipped.json",x)
x=copy.deepcopy(d); x[0]["annotations"].append({"id":999,"completed_by":2,"result":[],"was_cancelled":False}); w("c_two.json",x)
x=copy.deepcopy(d)
for t in x: t["data"]={"review":t["data"]["text"]}
w("d_key.json",x)
x=copy.deepcopy(d)
for t in x:
    t["data"]["title"]="A title"
w("d2_key.json",x)
x=copy.deepcopy(d)
for t in x:
    for r in t["annotations"][0]["result"]: r["type"]="choices"; r["value"]={"choices":["good"]}
w("e_choices.json",x)
x=copy.deepcopy(d)
for t in x:
    t["annotations"]=[]
w("f_none.json",x)
x=copy.deepcopy(d)
x[0]["annotations"][0]["result"][0]["value"]["labels"]=["person","author"]
x[1]["annotations"][0]["result"][0]["value"].pop("labels")
x[2]["annotations"][0]["result"][0]["value"].pop("text")
w("g_multi.json",x)
x=copy.deepcopy(d)
with open("h.jsonl","w") as f:
    for t in x: f.write(json.dumps(t)+"\n")
open("i.json","w").write(json.dumps(d)[:-50])
