def machine(): return {}
def markdown(r): return ""
